#include "tools/report/style.h"

namespace fulmar::tools {

const char* const report_style = R"css(
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --quiet: #57606a; --line: #d8dee4; --grid: #eaeef2;
  --panel: #f6f8fa; --a: #0067a3; --b: #b34700; --faint: #a3adb8;
  --a-part: 0, 114, 178; --b-part: 213, 94, 0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161b; --ink: #e6e9ed; --quiet: #a2adb9; --line: #333b45; --grid: #232a32;
    --panel: #1a2027; --a: #62b6ee; --b: #f0a35e; --faint: #66717d;
    --a-part: 86, 180, 233; --b-part: 240, 140, 60;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 73rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  overflow-wrap: break-word;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 {
  font-size: 1.35rem; margin: 3.5rem 0 .6rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line);
}
h3 { font-size: 1.05rem; margin: 2.2rem 0 .5rem; }
p { margin: .5rem 0; max-width: 44rem; }
a { color: var(--a); }
.quiet, figcaption, caption, footer { color: var(--quiet); }
.warning { border-left: .25rem solid var(--b); padding: .4rem .8rem; background: var(--panel); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .8rem;
  margin: 1.4rem 0; padding: 0; list-style: none;
}
.tiles li { background: var(--panel); border-radius: .5rem; padding: .8rem 1rem; }
.tiles span { display: block; color: var(--quiet); font-size: .85rem; line-height: 1.35; }
.tiles strong { font-size: 1.55rem; font-weight: 500; font-variant-numeric: tabular-nums; }
.facts { width: 100%; }
.facts caption {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
}
.facts th {
  width: 11rem; font-weight: 400; color: var(--quiet); padding-left: 0; vertical-align: top;
}
.facts td { text-align: left; overflow-wrap: anywhere; }
.columns {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 1.6rem 2rem; align-items: start;
}
figure { margin: 0; min-width: 0; }
figcaption { font-size: .9rem; line-height: 1.45; margin-top: .3rem; }
figcaption strong { color: var(--ink); }
.plot-title { font-weight: 600; font-size: .95rem; margin: 0 0 .2rem; }
.tables { display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: flex-start; }
.wide { overflow-x: auto; min-width: 0; max-width: 100%; }
table {
  border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0;
  font-size: .92rem;
}
caption { text-align: left; font-size: .9rem; padding-bottom: .4rem; }
th, td { padding: .28rem .5rem; text-align: right; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; }
th[scope=row], th:first-child, .text { text-align: left; }
thead th { color: var(--quiet); font-size: .92em; vertical-align: bottom; }
.confusion td {
  text-align: center; min-width: 5rem; border: 2px solid var(--page); padding: .45rem .3rem;
}
.confusion td.right { background: rgba(var(--a-part), calc(.06 + .44 * var(--share))); }
.confusion td.wrong { background: rgba(var(--b-part), calc(.10 + .50 * var(--share))); }
.confusion td.none { color: var(--quiet); }
.confusion td small { display: block; }
.confusion caption { white-space: nowrap; }
.confusion th { border-bottom: 0; }
.confusion thead th { text-align: center; padding: .3rem .2rem; }
.confusion thead th span { display: inline-block; }
.many thead th span { writing-mode: vertical-rl; transform: rotate(180deg); }
.many th, .many td { padding: .25rem .3rem; min-width: 2.2rem; }
.mistakes {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1.2rem 1rem;
}
.mistakes figcaption { font-size: .82rem; }
.picture { position: relative; line-height: 0; }
.picture img { width: 100%; height: auto; border-radius: .2rem; background: #000; }
.picture .heat { position: absolute; inset: 0; background: none; opacity: .75; }
.picture:hover .heat { opacity: 0; }
.picture span {
  position: absolute; border: 1px dashed #ffd75e; box-shadow: 0 0 0 1px rgba(0, 0, 0, .5);
}
pre {
  background: var(--panel); padding: .8rem 1rem; border-radius: .5rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .88rem;
}
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; color: var(--a); margin: .8rem 0 .3rem; }
footer {
  margin-top: 4rem; font-size: .85rem; border-top: 1px solid var(--line); padding-top: 1rem;
}
.plot { display: block; width: 100%; max-width: 30rem; height: auto; }
.plot text { font-size: 11px; fill: var(--quiet); }
.plot .middle { text-anchor: middle; }
.plot .end { text-anchor: end; }
.plot .label { font-weight: 600; fill: var(--ink); }
.plot .grid { stroke: var(--grid); }
.plot .axis { stroke: var(--quiet); }
.plot .guide { stroke: var(--faint); stroke-dasharray: 2 3; }
.plot .rule { stroke: var(--quiet); stroke-dasharray: 1 3; }
.plot .bar { fill: var(--a); opacity: .55; }
.plot .mark { fill: var(--page); stroke: var(--ink); stroke-width: 2; }
.plot .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.plot .line.a { stroke: var(--a); }
.plot .line.b { stroke: var(--b); stroke-dasharray: 6 3; }
.plot .line.faint { stroke: var(--faint); stroke-width: 1; }
.plot .dot.fill-a, .plot .label.fill-a { fill: var(--a); }
.plot .dot.fill-b, .plot .label.fill-b { fill: var(--b); }
.plot .dot.fill-faint { fill: var(--faint); }
@media (max-width: 34rem) {
  body { padding: 1.4rem .9rem 3rem; }
  h1 { font-size: 1.55rem; }
  h2 { margin-top: 2.6rem; }
  .facts th, .facts td { display: block; width: auto; padding: .1rem 0; }
  .facts th { border-bottom: 0; font-size: .85rem; padding-top: .5rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .6rem; }
  .tiles strong { font-size: 1.3rem; }
  table { font-size: .84rem; }
  .tables table { font-size: .78rem; }
  th, td { padding: .25rem .15rem; }
  th:first-child { padding-left: 0; }
  .many th, .many td { padding: .2rem .1rem; font-size: .76rem; min-width: 1.4rem; }
  .many td { border-width: 1px; }
  .mistakes { grid-template-columns: repeat(2, 1fr); }
}
@media print {
  :root {
    --page: #fff; --ink: #000; --quiet: #444; --line: #bbb; --grid: #ddd; --panel: #f4f4f4;
    --a: #005a8f; --b: #a03c00; --faint: #999;
    --a-part: 0, 114, 178; --b-part: 213, 94, 0;
  }
  @page { margin: 16mm 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, details { display: none; }
  h2 { margin-top: 1.6rem; }
  h2, h3, .plot-title, caption { break-after: avoid; }
  figure, tr, .tiles, pre, .columns, .tables { break-inside: avoid; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(2.4cm, 1fr)); gap: .4rem; }
  .tiles li { padding: .4rem .6rem; }
  .tiles strong { font-size: 13pt; }
  .columns { grid-template-columns: 1fr 1fr; gap: 1rem 1.4rem; }
  .small { grid-template-columns: 1fr 1fr 1fr; }
  #training, #data { break-inside: avoid; }
  .mistakes { grid-template-columns: repeat(6, 1fr); gap: .6rem; }
  .mistakes figcaption { font-size: 7pt; line-height: 1.3; }
  table { font-size: 8.5pt; }
  figcaption, caption, .tables + p { font-size: 8pt; line-height: 1.35; }
  .tables { gap: 0 .8rem; break-after: avoid; }
  .tables table { font-size: 7.5pt; }
  .tables td, .tables th { padding: .15rem .25rem; }
  .confusion td { min-width: 3.6rem; }
  .tables .many th, .tables .many td { min-width: 1.4rem; padding: .15rem .1rem; }
  .wide { overflow: visible; }
  .confusion td, .bar, .picture img, .tiles li {
    -webkit-print-color-adjust: exact; print-color-adjust: exact;
  }
}
)css";

}  // namespace fulmar::tools
