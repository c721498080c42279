//! Small file systems that a test mounts where nobody else sees them.
//!
//! The test runs itself again in a mount namespace of its own, which is gone with it. Where that is not allowed the test is
//! skipped and says so, unless `REQUIRE_TOOLS=1`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the disk is, in the inner run of a test.
const INNER: &str = "SMALL_DISK";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Tmpfs,
    /// On a loop device, for which one must really be root.
    Ext4,
    /// One that cannot take blocks ahead of time.
    Ext4WithoutExtents,
    /// An ext4 that believes to have more room than the disk below it, which is a tmpfs at [`below`]. When that is full,
    /// pages that the kernel has taken cannot be brought to the disk any more. Its blocks are the pages of the tmpfs, because
    /// a loop device takes a write that was cut short for a whole one.
    Ext4OnTooLittle,
}

impl Kind {
    /// Mounts 32 MiB at `$1`.
    fn mount(self) -> &'static str {
        match self {
            Self::Tmpfs => "mount -t tmpfs -o size=32m tmpfs \"$1\"",
            Self::Ext4 => {
                "truncate -s 32m \"$1.img\" && mkfs.ext4 -q -m 0 \"$1.img\" && mount -o loop \"$1.img\" \"$1\""
            }
            Self::Ext4WithoutExtents => {
                "truncate -s 32m \"$1.img\" && mkfs.ext4 -q -m 0 -O ^extents,^64bit \"$1.img\" && \
                 mount -o loop \"$1.img\" \"$1\""
            }
            Self::Ext4OnTooLittle => {
                "mkdir -p \"$1.below\" && mount -t tmpfs -o size=24m tmpfs \"$1.below\" && \
                 truncate -s 64m \"$1.below/img\" && \
                 mkfs.ext4 -q -m 0 -b 4096 -O ^has_journal \"$1.below/img\" && \
                 mount -o loop \"$1.below/img\" \"$1\""
            }
        }
    }
}

/// The disk below an [`Kind::Ext4OnTooLittle`].
pub(crate) fn below(folder: &Path) -> PathBuf {
    folder.with_extension("below")
}

/// A command in a mount namespace, as root or as if.
fn in_namespace(as_if: bool, folder: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    if as_if {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder);
    command
}

/// Runs `body` on a small disk. `test` is the name of the test that calls this, with its modules.
pub(crate) fn on_small_disk(kind: Kind, test: &str, body: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(INNER) {
        return body(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let possible = |as_if: &bool| {
        let output = in_namespace(*as_if, &disk, kind.mount()).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(as_if) = [false, true].into_iter().find(possible) else {
        let required = std::env::var_os("REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "a {kind:?} cannot be mounted here but REQUIRE_TOOLS=1");
        eprintln!("{test} is skipped: a {kind:?} cannot be mounted here");
        return;
    };
    let script = format!("{} && exec \"$2\" --exact \"$3\" --nocapture", kind.mount());
    let mut command = in_namespace(as_if, &disk, &script);
    let output = command.arg(std::env::current_exe().unwrap()).arg(test).env(INNER, &disk).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{said}{errors}");
    assert!(output.status.success() && said.contains("1 passed"), "the test failed on a {kind:?}");
}

/// A file of somebody else that takes all the room there is.
pub(crate) struct Ballast(PathBuf);

impl Ballast {
    pub(crate) fn fill(folder: &Path) -> Self {
        let path = folder.join("ballast");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        // Freed blocks may come back only when the file system has written its journal.
        for _ in 0..3 {
            for piece in [1024 * 1024, 4096] {
                while file.write_all(&vec![1; piece]).is_ok() {}
            }
            let _ = file.sync_all();
        }
        Self(path)
    }

    /// Somebody cleans up.
    pub(crate) fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(program: &str, args: &[&str], paths: &[&Path]) {
    let status = Command::new(program).args(args).args(paths).status().unwrap();
    assert!(status.success(), "{program} {args:?} {paths:?}");
}
