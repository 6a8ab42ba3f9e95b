"""The page's style sheet and its one script: sorting a table by a column."""

CSS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#dfe3e8;--faint:#f4f6f8;--good:#0a6b3d;
--good-bg:#e8f5ee;--bad:#b42318;--warn:#8a5a00;--f0:#1f5fbf;--f1:#c4520a;--f2:#6b3fa0;--f3:#0b7a75;--f4:#a8215e;
--f5:#5a6b00;
--heat:31,95,191}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e9ed;--soft:#9aa4b0;--line:#2d333b;--faint:#1b2026;
--good:#5fd39a;--good-bg:#12301f;--bad:#ff8a7d;--warn:#e6b450;--f0:#7fb0ff;--f1:#ffa066;--f2:#c3a0f5;--f3:#5fd0c8;
--f4:#f58fb9;--f5:#c3d35f;--heat:127,176,255}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1128px;margin:0 auto;padding:36px 24px 72px}
h1{font-size:25px;line-height:1.2;margin:0 0 4px;font-weight:650;overflow-wrap:anywhere}
h2{font-size:17px;margin:48px 0 8px;font-weight:650;padding-top:14px;border-top:1px solid var(--line)}
h3{font-size:14px;margin:20px 0 6px;font-weight:600}
p{margin:0 0 10px;max-width:76ch}
.note,.sub,figcaption{color:var(--soft);font-size:13.5px}
.sub{margin-bottom:22px;max-width:none}
code,.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,monospace;font-size:.92em;overflow-wrap:anywhere}
.picks{display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:14px;margin:18px 0 6px;padding:0;
list-style:none}
.pick{border:1px solid var(--line);border-radius:8px;padding:14px 16px}
.pick .who{display:flex;align-items:center;gap:6px;color:var(--soft);font-size:13.5px}
.pick .what{font-size:19px;font-weight:650;margin:2px 0 6px;overflow-wrap:anywhere}
.pick dl{display:grid;grid-template-columns:auto 1fr;gap:1px 14px;margin:0 0 8px;font-variant-numeric:tabular-nums}
.pick dt{color:var(--soft)}.pick dd{margin:0;text-align:right}
.pick p{font-size:13.5px;color:var(--soft);margin:0}
.pick.none .what{color:var(--bad)}
.verdict{font-size:17px;margin:0 0 4px}
.verdict.missed{color:var(--bad)}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13.5px}
th,td{padding:5px 10px 5px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th:last-child,td:last-child{padding-right:0}
thead th{font-weight:600;color:var(--soft);white-space:nowrap;vertical-align:bottom}
.n{text-align:right;white-space:nowrap}
.range{color:var(--soft)}
tbody th{font-weight:400;white-space:nowrap}
tr.rec th,tr.rec td{background:var(--good-bg)}
tr.rec th{font-weight:650}
tr.out td,tr.out th{color:var(--soft)}
.tag{font-size:12.5px;white-space:nowrap}.tag.good{color:var(--good);font-weight:650}.tag.bad{color:var(--bad)}
th button{all:unset;cursor:pointer;font:inherit;color:inherit}
th button:focus-visible{outline:2px solid var(--f0);outline-offset:2px}
th[aria-sort=ascending] button::after{content:" \\2191"}th[aria-sort=descending] button::after{content:" \\2193"}
figure{margin:8px 0 0}
svg{display:block;width:100%;height:auto}
.swatch{width:14px;height:14px;display:inline-block;vertical-align:-2px;margin-right:5px;flex:none}
.leader{stroke:var(--soft);stroke-width:.8}
.grid{stroke:var(--line)}.axis{stroke:var(--soft)}
text{fill:var(--ink);font-size:12px;font-family:inherit}
.tick,.label{fill:var(--soft);font-size:11.5px;font-variant-numeric:tabular-nums}
.limit{stroke:var(--bad);stroke-dasharray:5 4}.limit-text{fill:var(--bad);font-size:11.5px}
.mark{stroke-width:1.6}
.whisker{stroke-width:1.4;opacity:.5}.front{fill:none;stroke-width:1.2;opacity:.45}
.ring{fill:none;stroke:var(--ink);stroke-width:1.6}
.name{font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.f0{fill:var(--f0);stroke:var(--f0)}.f1{fill:var(--f1);stroke:var(--f1)}.f2{fill:var(--f2);stroke:var(--f2)}
.f3{fill:var(--f3);stroke:var(--f3)}.f4{fill:var(--f4);stroke:var(--f4)}.f5{fill:var(--f5);stroke:var(--f5)}
.hollow,.front{fill:var(--paper)}.front,.curve{fill:none}.curve{stroke-width:1.8}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:4px 0 0;padding:0 0 0 58px}
.legend li{display:flex;align-items:center}
.key{display:inline-block;width:14px;height:14px;margin-right:6px}
.key.ring{border:1.6px solid var(--ink);border-radius:50%}
.key.whisker{border-left:1.6px solid var(--soft);width:1px;margin-left:7px}
.key.step{height:1px;border-top:1.6px solid var(--soft)}
.sizes .bar{display:flex;height:18px;background:var(--faint);border-radius:2px;overflow:hidden;min-width:220px}
.sizes .bar i{display:block;height:100%;background:var(--f0);border-right:1px solid var(--paper)}
.sizes .bar i:nth-child(even){opacity:.62}.sizes .bar i.over{background:var(--soft);opacity:.45}
td.w{width:60%}
td.who{white-space:nowrap}
.bars .b{display:block;height:10px;background:var(--f0);border-radius:1px;margin-top:5px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:24px}
.cm{font-size:12px;width:auto}.cm td,.cm thead th{padding:3px 5px;text-align:right;border:0;min-width:2.6em}
.cm tbody th{padding:3px 8px 3px 0;text-align:right;border:0;color:var(--soft)}
.cm thead th{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;padding:5px 3px;font-weight:400;
margin:auto}
.cm td.hit{outline:1px solid var(--line);outline-offset:-1px}
.drop{width:100%;min-width:120px;height:16px}
.drop line{stroke:var(--f0);stroke-width:1.4;opacity:.6}
.drop circle{fill:var(--f0)}.drop .axis{stroke:var(--line);opacity:1}
.drop.worse line{stroke:var(--f1)}
.drop.worse circle{fill:var(--f1)}.drop.worse .axis{stroke:var(--line)}
details{margin:8px 0;border-bottom:1px solid var(--line);padding-bottom:8px}
summary{cursor:pointer;padding:3px 0}
summary:focus-visible{outline:2px solid var(--f0)}
ul.findings{list-style:none;padding:0;margin:8px 0}
ul.findings li{display:grid;grid-template-columns:74px 1fr;gap:2px 10px;padding:6px 0;
border-bottom:1px solid var(--line)}
.sev-failure{color:var(--bad);font-weight:650}.sev-warning{color:var(--warn);font-weight:600}
.sev-note{color:var(--soft)}
dl.facts{display:grid;grid-template-columns:minmax(120px,auto) 1fr;gap:3px 20px;margin:8px 0;font-size:13.5px}
dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
@media(max-width:560px){main{padding:22px 14px 48px}h1{font-size:21px}.legend{padding-left:0}
ul.findings li{grid-template-columns:1fr}dl.facts{grid-template-columns:1fr}dl.facts dd{margin-bottom:6px}
.plot>svg{min-width:560px}.plot{overflow-x:auto}}
@media print{body{font-size:11px}main{max-width:none;padding:0}h2{break-after:avoid;margin-top:24px}
.scroll,.plot{overflow:visible}tr,.pick,figure{break-inside:avoid}details>*{display:block}}
"""

SORT = """
document.querySelectorAll('th button').forEach(function(b){b.addEventListener('click',function(){
var th=b.closest('th'),t=th.closest('table'),i=th.cellIndex,up=th.getAttribute('aria-sort')!=='ascending';
t.querySelectorAll('th[aria-sort]').forEach(function(h){h.removeAttribute('aria-sort')});
th.setAttribute('aria-sort',up?'ascending':'descending');
var key=function(r){return r.cells[i].dataset.v===undefined?r.cells[i].textContent:r.cells[i].dataset.v};
var body=t.tBodies[0];Array.from(body.rows).sort(function(a,c){
var x=key(a),y=key(c),p=x===''?1:0,q=y===''?1:0;if(p||q)return p-q;
var d=isNaN(x)||isNaN(y)?x.localeCompare(y):x-y;return up?d:-d}).forEach(function(r){body.appendChild(r)})})});
"""
