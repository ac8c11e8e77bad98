"""The look of the page. One column on a phone, two or three plots side by side where there is room."""

CSS = """
:root {
  --ink: #1f2933; --soft: #52606d; --line: #d9e2ec; --paper: #ffffff; --ground: #f5f7fa;
  --go: #0b6e4f; --mind: #92500a;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 1.6rem; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 32px 0 8px; }
h3 { font-size: .98rem; margin: 0 0 2px; }
p { margin: 4px 0; }
.soft { color: var(--soft); font-size: .9rem; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; }
.choice { border-left: 5px solid var(--go); margin-top: 16px; }
.choice.none { border-left-color: var(--mind); }
.choice h2 { margin: 0 0 8px; overflow-wrap: anywhere; }
.choice ul { margin: 6px 0 0; padding-left: 1.2em; }
.choice li { margin: 3px 0; overflow-wrap: anywhere; }
.mind { color: var(--mind); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 8px 16px; margin: 0 0 10px; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; position: sticky; top: 0; background: var(--paper); }
th.left, td.left { text-align: left; }
tr.chosen td { background: #e6f4ee; font-weight: 600; }
tr:last-child td { border-bottom: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); gap: 14px; }
.plots .card { min-width: 0; }
.plot { min-height: 340px; }
.key { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 4px 0 10px; font-size: .9rem; }
.key span { white-space: nowrap; }
.dot { display: inline-block; width: .75em; height: .75em; border-radius: 50%; margin-right: .35em; }
details { margin-top: 16px; }
summary { cursor: pointer; color: var(--soft); }
@media (max-width: 480px) { main { padding: 12px 8px 32px; } .card { padding: 12px 10px; } }
"""
