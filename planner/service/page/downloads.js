// Recipes as files, the link and the command to the clipboard.

import { post } from "./api.js";
import { $, save, say } from "./dom.js";
import { toBody, toFragment } from "./state.js";

// `current` gives the question as it stands; `refused` shows why there is no file.
export function listenDownloads(current, refused) {
  const types = { toml: "toml", json: "json", csv: "csv", markdown: "md" };
  for (const button of document.querySelectorAll("[data-format]")) {
    button.addEventListener("click", async () => {
      const name = button.dataset.format;
      try {
        const response = await post(`v1/plan?format=${name}`, toBody(current()));
        save(await response.blob(), `recipe.${types[name]}`);
      } catch (error) {
        refused(error.problem ?? { detail: "The server does not answer; try again." });
      }
    });
  }
  const copy = (button, text) => button.addEventListener("click", async () => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it from the address bar";
    }
    say(button.textContent);
    setTimeout(() => { button.textContent = before; }, 1600);
  });
  copy($("copy-link"), () => new URL(toFragment(current()), location.href).href);
  copy($("copy-command"), () => $("command").textContent);
}
