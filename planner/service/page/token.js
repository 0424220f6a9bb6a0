// The dialog that asks for the server's token.

import { setToken, tokenFault } from "./api.js";
import { $ } from "./dom.js";

// `begin` starts the page again with the token that was given.
export function listenToken(begin) {
  const dialog = $("token-dialog");
  const field = $("token");
  const fault = (text) => {
    $("token-fault").textContent = text;
    $("token-fault").hidden = !text;
    field.setAttribute("aria-invalid", String(Boolean(text)));
  };
  window.addEventListener("unauthorised", ({ detail }) => {
    if (dialog.open) return;
    if (detail.refused) setToken("");
    fault(detail.refused ? "The server does not take this token; check it and try again." : "");
    field.value = "";
    dialog.showModal();
  });
  field.addEventListener("input", () => fault(""));
  $("token-form").addEventListener("submit", (event) => {
    const text = field.value.trim();
    const wrong = tokenFault(text);
    if (wrong) {
      event.preventDefault();
      fault(wrong);
      return;
    }
    setToken(text);
    field.value = "";
    begin();
  });
  $("token-cancel").addEventListener("click", () => dialog.close());
}
