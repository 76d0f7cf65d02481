"use strict";
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    const status = button.nextElementSibling;
    let copied = true;
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // Without leave to write to the clipboard: mark the text, and ask in the older way.
      getSelection().selectAllChildren(source);
      copied = document.execCommand("copy");
    }
    status.textContent = copied ? "Copied." : "Marked: press Ctrl+C.";
  });
}
