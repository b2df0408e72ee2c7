"""The style of the pages. It is part of each page, and the page's policy names its hash: nothing else may be styled."""

import hashlib
from base64 import b64encode
from typing import Final

from markupsafe import Markup

STYLE: Final = Markup("""
:root { color-scheme: light dark; --page: #f3f4f6; --card: #fff; --text: #1b1f24; --quiet: #535b66; --line: #7b8490;
  --main: #1f4fd1; --on-main: #fff; --wrong: #b3140f; --wrong-page: #fdecea }
@media (prefers-color-scheme: dark) { :root { --page: #111418; --card: #1b2027; --text: #eceff3; --quiet: #b3bcc8;
  --line: #838d9a; --main: #a3bffa; --on-main: #10131a; --wrong: #ff9d94; --wrong-page: #3a1a18 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: flex; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere }
main { width: 100%; max-width: 26rem; margin: auto; padding: 2rem; background: var(--card); border-radius: .75rem;
  box-shadow: 0 1px 4px #0003 }
.shop { margin: 0 0 1rem; color: var(--quiet); font-weight: 600 }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25 }
p { margin: 0 0 1rem }
form { margin: 0 0 1rem }
main > :last-child { margin-bottom: 0 }
ul { margin: 0 0 1rem; padding-left: 1.25rem }
li { margin: .25rem 0 }
.quiet { color: var(--quiet); font-size: .9375rem }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600 }
input { width: 100%; min-height: 2.75rem; padding: .5rem .75rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); color: var(--text); font: inherit }
input[aria-invalid=true] { border: 2px solid var(--wrong) }
.wrong { margin: .25rem 0 0; color: var(--wrong) }
.alert { margin: 1rem 0 0; padding: .75rem; border-left: 4px solid var(--wrong); background: var(--wrong-page) }
.choices { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.5rem }
button { flex: 1 1 9rem; min-height: 2.75rem; padding: .5rem 1rem; border: 1px solid var(--main); border-radius: .5rem;
  background: var(--main); color: var(--on-main); font: inherit; font-weight: 600; cursor: pointer }
button.second { background: transparent; color: var(--main) }
a { color: var(--main) }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px }
@media (max-width: 30rem) { body { background: var(--card) }
  main { margin: 0 auto; padding: 1.5rem 1rem; box-shadow: none; border-radius: 0 } }
""")

STYLE_SOURCE: Final = f"'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
"""How `style-src` of a Content-Security-Policy names the style."""
