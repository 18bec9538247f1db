// Finds what keeps people from reading or operating a page: WCAG 2.1 contrast (1.4.3), names of controls (4.1.2),
// size of targets, what sticks out of its card, what lies over another. Returns sentences; none is right. Evaluated in the page by the tests.
() => {
  const found = [];
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = channels(getComputedStyle(at).backgroundColor);
      if (alpha > 0.99) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const visible = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest(".visually-hidden, .skip");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.textContent.trim();
    if (!words || !visible(element) || element.closest(":disabled")) continue;
    const style = getComputedStyle(element);
    const [one, two] = [luminance(channels(style.color)), luminance(ground(element))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)} of “${words.slice(0, 40)}”`);
  }
  for (const control of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (visible(control) && !control.labels?.length && !control.ariaLabel) found.push(`no label: ${control.outerHTML.slice(0, 80)}`);
  }
  for (const control of document.querySelectorAll("a[href], button, summary")) {
    if (!visible(control)) continue;
    if (!(control.textContent.trim() || control.ariaLabel)) found.push(`no name: ${control.outerHTML.slice(0, 80)}`);
    const box = control.getBoundingClientRect();
    if (getComputedStyle(control).display !== "inline" && Math.min(box.width, box.height) < 24) {
      found.push(`small target ${Math.round(box.width)}×${Math.round(box.height)}: ${control.textContent.trim().slice(0, 40)}`);
    }
  }
  for (const card of document.querySelectorAll(".card")) {
    // a dialog lies over everything, and the eye of a password within its field
    const controls = [...card.querySelectorAll("button, input:not([type=hidden]), select, textarea")].filter((each) => visible(each) && !each.closest("dialog, .with-toggle"));
    const boxes = controls.map((control) => control.getBoundingClientRect());
    boxes.forEach((one, index) => {
      const over = boxes.findIndex((two, other) => other > index &&
        Math.min(one.right, two.right) - Math.max(one.left, two.left) > 1 && Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top) > 1);
      if (over !== -1) found.push(`“${controls[over].outerHTML.slice(0, 60)}” lies over “${controls[index].outerHTML.slice(0, 60)}”`);
    });
  }
  for (const box of document.querySelectorAll(".card, .notice")) {
    if (visible(box) && box.scrollWidth > box.clientWidth + 1) found.push(`sticks out: ${box.textContent.trim().slice(0, 40)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) found.push(`id ${id} twice`);
  if (document.querySelectorAll("h1").length !== 1) found.push("not exactly one h1");
  return found;
}
