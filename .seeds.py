import sys; sys.path.insert(0,'tests')
from simulated.runs import run
from simulated.scenario import SCENARIOS
sc=SCENARIOS[sys.argv[1]]; wl=sys.argv[4] if len(sys.argv)>4 else 'refactor'
import statistics
r=[]
for s in range(int(sys.argv[2]),int(sys.argv[3])):
    f=run('tidegate',wl,sc,s); r.append(f.ratio)
    print(s, f"{f.ratio:.3f} done {f.done:.3f} wasted {f.wasted*100:.1f} whole {f.whole*100:.1f} closings {f.closings} launches {f.launches} canaries {f.canaries} closed {f.closed} opt {f.optimum:.1f}", flush=True)
print(statistics.mean(r))
