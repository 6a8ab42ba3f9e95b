document.querySelectorAll('th button').forEach(function(b){b.addEventListener('click',function(){
var th=b.closest('th'),t=th.closest('table'),i=th.cellIndex,up=th.getAttribute('aria-sort')!=='ascending';
t.querySelectorAll('th[aria-sort]').forEach(function(h){h.removeAttribute('aria-sort')});
th.setAttribute('aria-sort',up?'ascending':'descending');
var key=function(r){return r.cells[i].dataset.v===undefined?r.cells[i].textContent:r.cells[i].dataset.v};
var body=t.tBodies[0];Array.from(body.rows).sort(function(a,c){
var x=key(a),y=key(c),p=x===''?1:0,q=y===''?1:0;if(p||q)return p-q;
var d=isNaN(x)||isNaN(y)?x.localeCompare(y):x-y;return up?d:-d}).forEach(function(r){body.appendChild(r)})})});
