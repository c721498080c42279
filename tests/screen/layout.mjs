// What is wrong with the page as it is drawn: too small for a thumb, outside the screen, cut off, or one thing over another.
// Runs inside the page; returns sentences.

export function problems() {
  const THUMB = 44;
  const KEY = 48;
  const [wide, high] = [innerWidth, innerHeight];
  const said = [];
  const name = (one) => `${one.tagName.toLowerCase()} "${(one.getAttribute("aria-label") ?? one.textContent).slice(0, 50)}"`;
  const shown = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility() && one.textContent.trim() !== "");
  const within = (box) => box.left >= -.5 && box.top >= -.5 && box.right <= wide + .5 && box.bottom <= high + .5;
  const least = (one) => {
    if (!one.closest(".keypad")) return THUMB;
    // All letters and digits on the smallest screen: the one exception.
    return one.closest(".keypad.full") && wide === 800 && high === 480 ? THUMB : KEY;
  };

  for (const button of shown("button")) {
    // A list is scrolled by a finger.
    if (button.closest(".list")) button.scrollIntoView({ block: "nearest" });
    const box = button.getBoundingClientRect();
    if (!within(box)) said.push(`${name(button)} is outside of the screen: ${JSON.stringify(box)}`);
    if (Math.min(box.width, box.height) < least(button) - .5) said.push(`${name(button)} is ${Math.round(box.width)} x ${Math.round(box.height)}`);
    const on = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    if (on && !button.contains(on)) said.push(`${name(button)} is covered by ${name(on)}`);
  }
  for (const one of shown("button, h1, p, output")) {
    // Digits of a large number stand out of their line; nothing is lost of them.
    const low = one.matches("button, output, .hint") && one.scrollHeight > one.clientHeight + 1;
    if (one.scrollWidth > one.clientWidth + 1 || low) {
      said.push(`${name(one)} is cut off: ${one.scrollWidth} x ${one.scrollHeight} in ${one.clientWidth} x ${one.clientHeight}`);
    }
  }
  document.querySelector(".list")?.scrollTo(0, 0);
  const texts = shown("h1, p, output, #state");
  for (const text of texts) {
    if (text.closest(".list")) continue;
    const box = text.getBoundingClientRect();
    if (!within(box)) said.push(`${name(text)} is outside of the screen: ${JSON.stringify(box)}`);
    const around = text.closest("section")?.getBoundingClientRect();
    if (around && (box.top < around.top - .5 || box.bottom > around.bottom + .5)) said.push(`${name(text)} stands out of its page`);
    for (const other of shown("button, h1, p, output, svg")) {
      const their = other.getBoundingClientRect();
      const over = Math.min(box.right, their.right) - Math.max(box.left, their.left) > 1 && Math.min(box.bottom, their.bottom) - Math.max(box.top, their.top) > 1;
      if (over && !other.contains(text) && !text.contains(other)) said.push(`${name(text)} is over ${name(other)}`);
    }
  }
  return said;
}
