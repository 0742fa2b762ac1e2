"""Style sheet and the few lines of script that the page has of its own."""

from divebell.serve.ui.rendering import code_css

CSS = """
:root { --nicegui-default-padding: 0.75rem }
body { --paper: #fff; --ink: #1b1b1b; --quiet: #5a5f66; --line: #d9dce0; --said: #eef2f7 }
body.body--dark { --paper: #121417; --ink: #e6e6e6; --quiet: #a3a9b1; --line: #33383f; --said: #1f262e }
body { --q-primary: #1a6aae !important } body.body--dark { --q-primary: #6fb1ec !important }
@layer quasar_importants { .body--dark .q-btn.bg-primary { color: #10202e !important } }
body { background: var(--paper); color: var(--ink) }
.nicegui-content { padding: 0 }
.top, .composer { background: var(--paper) !important; color: var(--ink) !important; padding: 0.25rem 0.75rem }
.top { border-bottom: 1px solid var(--line); gap: 0.25rem; flex-wrap: nowrap }
.composer { border-top: 1px solid var(--line) }
.model { max-width: 34vw; min-width: 5rem }
.q-tab-panels { background: transparent; color: inherit }
.column-of-turns, .composer-column { width: 100%; max-width: 48rem; margin: 0 auto; padding: 0.75rem; gap: 0.75rem }
.composer-column { padding: 0.25rem 0 }
.turn { width: 100%; gap: 0.25rem }
.said { background: var(--said); border-radius: 0.75rem; padding: 0.6rem 0.9rem; margin-left: auto; max-width: 90%;
  white-space: pre-wrap; overflow-wrap: anywhere }
.quiet { color: var(--quiet); font-size: 0.8rem }
.problem { color: #c62828 } .body--dark .problem { color: #ff8a80 }
.actions { gap: 0; align-items: center; color: var(--quiet) }
.actions .quiet { margin: 0 0.4rem }
.actions.mine { margin-left: auto }
.answer, .reasoning { width: 100%; overflow-wrap: anywhere; line-height: 1.55 }
.answer p, .answer ul, .answer ol, .answer table, .answer pre, .answer blockquote { margin: 0 0 0.7em }
.answer h1, .answer h2, .answer h3, .answer h4 { font-size: 1.1rem; font-weight: 600; line-height: 1.4;
  margin: 1em 0 .4em }
.answer ul { list-style: disc } .answer ol { list-style: decimal } .answer ul, .answer ol { padding-left: 1.5em }
.answer pre { background: var(--said); padding: 0.7rem; border-radius: 0.5rem; overflow-x: auto; line-height: 1.4 }
.answer code { font-family: ui-monospace, monospace; font-size: 0.9em }
.answer :not(pre) > code { background: var(--said); padding: 0.1em 0.3em; border-radius: 0.25em }
.answer table { display: block; overflow-x: auto; border-collapse: collapse }
.answer th, .answer td { border: 1px solid var(--line); padding: 0.25em 0.6em }
.answer blockquote { border-left: 3px solid var(--line); padding-left: 0.8em; color: var(--quiet) }
.answer a { color: inherit; text-decoration: underline }
.answer math[display=block] { overflow-x: auto; margin: 0.5em 0 }
@media (max-width: 480px) { .top { gap: 0; padding: 0.25rem } .top .q-tab { padding: 0 0.5rem; min-width: 0 }
  .model { max-width: 30vw } }
:focus-visible { outline: 2px solid #1976d2; outline-offset: 2px }
"""
# Escape stops, Alt+N begins anew; files may be dropped anywhere.
SCRIPT = """
document.addEventListener("keydown", event => {
  if (event.key === "Escape") emitEvent("stop");
  if (event.altKey && event.code === "KeyN") { event.preventDefault(); emitEvent("fresh"); }
});
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => {
  event.preventDefault();
  const upload = document.querySelector(".files");
  if (upload) getElement(+upload.id.slice(1)).$refs.qRef.addFiles(event.dataTransfer.files);
});
function followEnd() {
  const page = document.scrollingElement;
  if (page.scrollHeight - page.scrollTop - innerHeight < 250) page.scrollTop = page.scrollHeight;
}
"""
HEAD = f"<style>{CSS}{code_css()}</style><script>{SCRIPT}</script>"
