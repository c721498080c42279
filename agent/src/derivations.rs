//! Computes verifiers of what people enter, on a thread of its own.
//!
//! One thread and one workspace of 7 MiB, made with the first code and used again: given back and asked for anew, glibc
//! kept the memory of every evaluation (BENCHMARKS.md).

use std::sync::mpsc as asked;

use schemas::crypto::answers::Answer;
use schemas::crypto::codes::{Pepper, Secret, Workspace};
use schemas::messages::{OrderKey, Salt, Verifier};
use tokio::sync::mpsc;

/// What somebody typed or scanned.
pub enum Entered {
    Code(Secret),
    /// To the second factor of this order.
    Answer(Answer, OrderKey),
}

/// One verifier to compute.
pub struct Question {
    pub entry: u64,
    pub entered: Entered,
    pub salt: Salt,
    pub pepper: Pepper,
}

impl Question {
    fn verifier(&self, workspace: &mut Workspace) -> Verifier {
        match &self.entered {
            Entered::Code(secret) => secret.verifier_in(workspace, &self.salt, &self.pepper),
            Entered::Answer(answer, order) => answer.verifier_in(workspace, order, &self.salt, &self.pepper),
        }
    }
}

/// Questions in, verifiers out, one at a time.
pub struct Derivations {
    questions: asked::Sender<Question>,
    answers: mpsc::UnboundedReceiver<(u64, Verifier)>,
}

impl Derivations {
    /// Starts the thread; it ends with this.
    pub fn start() -> std::io::Result<Self> {
        let (questions, asked) = asked::channel::<Question>();
        let (answered, answers) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("derivations".into()).spawn(move || {
            let mut workspace = Workspace::default();
            for question in asked {
                let verifier = question.verifier(&mut workspace);
                if answered.send((question.entry, verifier)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers })
    }

    pub fn ask(&self, question: Question) {
        // The core asks one at a time and gives up a question without an answer, so nothing is lost with a thread.
        let _ = self.questions.send(question);
    }

    /// The next answer: entry and verifier.
    pub async fn next(&mut self) -> Option<(u64, Verifier)> {
        self.answers.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_with_the_number_of_their_question() {
        let mut derivations = Derivations::start().unwrap();
        let (salt, pepper) = (Salt([1; 16]), Pepper([2; 32]));
        let secret = Secret::parse("12345678").unwrap();
        let expected = secret.verifier(&salt, &pepper);
        derivations.ask(Question { entry: 7, entered: Entered::Code(secret), salt, pepper: pepper.clone() });
        assert_eq!(derivations.next().await, Some((7, expected)));
        let (answer, order) = (Answer::parse("24121980").unwrap(), "shop/A1".parse::<OrderKey>().unwrap());
        let expected = answer.verifier(&order, &salt, &pepper);
        derivations.ask(Question { entry: 8, entered: Entered::Answer(answer, order), salt, pepper });
        assert_eq!(derivations.next().await, Some((8, expected)));
    }
}
