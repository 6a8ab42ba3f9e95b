"""What a profile's page adds to the style sheet of a report's."""

CSS = """
article{margin-top:56px;border-top:3px solid var(--ink)}article>h2{border:0;font-size:21px;margin:14px 0 2px;
overflow-wrap:anywhere}
article h3{font-size:16px;font-weight:650;margin:36px 0 6px;padding-top:12px;border-top:1px solid var(--line)}
h4{font-size:13.5px;font-weight:600;margin:0 0 4px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:12px;margin:16px 0 8px}
.figures>div{border:1px solid var(--line);border-radius:8px;padding:10px 13px}
.figures dt{color:var(--soft);font-size:13px}.figures dd{margin:0;font-variant-numeric:tabular-nums}
.figures .v{font-size:20px;font-weight:650;white-space:nowrap}.figures .r{color:var(--soft);font-size:12.5px}
.alert{color:var(--bad);font-weight:600}
.halves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:18px 32px}
.charts{margin-top:6px}.charts h4{margin-top:16px}
.halves>*{min-width:0}
.fig text{font-size:12.5px}.fig .count{fill:var(--f0);opacity:.75}.fig .band{opacity:.16}
.fig .dots{stroke:var(--f0);stroke-width:3.2;stroke-linecap:round;fill:none;opacity:.45}
.fig .run{stroke:var(--f1);stroke-width:1.8;fill:none}.fig .beyond{fill:var(--bad)}
.fig .p{stroke-width:1.4;fill:none}.fig .p50{stroke:var(--ink)}.fig .p90{stroke:var(--f1)}.fig .p99{stroke:var(--f2)}
.fig rect.p50{fill:var(--ink);stroke:none}.fig rect.p90{fill:var(--f1);stroke:none}
.fig rect.p99{fill:var(--f2);stroke:none}
.fig text.p50,.fig text.p90,.fig text.p99{font-weight:600;stroke:var(--paper);stroke-width:3px;paint-order:stroke}
.fig text.p90{fill:var(--f1)}.fig text.p99{fill:var(--f2)}
.rows{display:grid;grid-template-columns:minmax(0,max-content) minmax(60px,1fr) auto auto;gap:3px 12px;
align-items:center;font-size:13.5px;margin:0;font-variant-numeric:tabular-nums}
.rows>*{min-width:0}.rows .who{overflow-wrap:anywhere;max-width:22em}.rows .v{text-align:right;white-space:nowrap}
.rows .s{text-align:right;color:var(--soft);white-space:nowrap}
.rows .t,.g{display:block;height:11px;background:var(--faint);border-radius:2px;overflow:hidden}
.t i,.g i{display:block;height:100%;min-width:1px;background:var(--f0)}
.strip{display:flex;height:34px;border-radius:4px;overflow:hidden;background:var(--faint)}
.strip i{display:block;height:100%;border-right:1px solid var(--paper);min-width:0}
.ends{display:flex;justify-content:space-between;color:var(--soft);font-size:12.5px;margin:3px 0 0;max-width:none}
.keys{display:flex;flex-wrap:wrap;gap:3px 16px;list-style:none;padding:0;margin:6px 0 0;font-size:13px;
color:var(--soft)}
.keys i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;vertical-align:-1px}
i.f0,i.f1,i.f2,i.f3,i.f4,i.f5{stroke:none}
i.f0{background:var(--f0)}i.f1{background:var(--f1)}i.f2{background:var(--f2)}i.f3{background:var(--f3)}
i.f4{background:var(--f4)}i.f5{background:var(--f5)}i.other{background:var(--soft);opacity:.55}
td.wide{width:34%;min-width:150px;vertical-align:middle}td.text{overflow-wrap:anywhere;min-width:13em}
.gantt td.text{min-width:9em}
.gantt{font-size:12.5px}.gantt td,.gantt th{padding-top:3px;padding-bottom:3px;vertical-align:middle}
.span{display:block;position:relative;height:14px;min-width:140px}
.span i{position:absolute;display:block}
.span .range{top:6px;height:2px;background:var(--soft)}.span .mid{top:1px;height:12px;width:3px;background:var(--f0)}
.span .far{top:3px;height:8px;width:2px;background:var(--f2)}
.diff{display:block;position:relative;height:11px;background:linear-gradient(var(--soft),var(--soft)) center/1px 100%
no-repeat}
.diff i{position:absolute;top:0;height:100%;min-width:1px}.diff .up{left:50%;background:var(--f1)}
.diff .down{right:50%;background:var(--f3)}
.adds{font-size:15px}
@media(max-width:560px){.fig text{font-size:17px}.rows .who{max-width:11em}.figures{grid-template-columns:1fr 1fr}
.figures .v{font-size:18px}article{margin-top:40px}}
@media print{.figures>div,.halves>div,.halves>figure{break-inside:avoid}}
"""
