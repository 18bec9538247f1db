// Marks the rules of a new password while one types. The same rules as appliance/people/passwords.py, which
// decides; the policy (lengths and common words) comes from there with the page.

function isCommon(password, words) {
  if (new Set(password).size < 5) return true;
  const whole = password.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  let rest = whole;
  for (const word of [...words].sort((a, b) => b.length - a.length)) rest = rest.replaceAll(word, "");
  return rest.length < whole.length && rest.replace(/\p{Nd}/gu, "").length < 4;
}

/** The rules that `password` breaks: names of PasswordRule. */
export function brokenRules(password, name, policy) {
  const length = [...password].length;
  const broken = [];
  if (length < policy.shortest) broken.push("too_short");
  if (length > policy.longest) broken.push("too_long");
  if (name && password.toLowerCase().includes(name.toLowerCase())) broken.push("holds_name");
  if (isCommon(password, policy.common)) broken.push("common");
  return broken;
}

function watch(list) {
  const field = document.getElementById(list.dataset.rulesFor);
  const nameField = document.getElementById(list.dataset.nameField);
  const policy = JSON.parse(list.dataset.policy);
  const mark = () => {
    const broken = brokenRules(field.value, nameField ? nameField.value.trim() : list.dataset.name, policy);
    for (const item of list.children) {
      item.dataset.state = !field.value ? "" : broken.includes(item.dataset.rule) ? "broken" : "kept";
    }
    field.setAttribute("aria-invalid", String(field.value !== "" && broken.length > 0));
  };
  field.addEventListener("input", mark);
  nameField?.addEventListener("input", mark);
  if (field.value) mark();
}

for (const list of document.querySelectorAll("[data-rules-for]")) watch(list);
