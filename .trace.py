import sys; sys.path.insert(0,'tests')
from simulated.scenario import SCENARIOS
from simulated.work import tasks
from simulated.allowance import Allowance
from simulated.agent import Tally
from random import Random
from tidegate.stores.memory import MemoryStore
from simulated.service import Service
import collections
name=sys.argv[1]; seed=int(sys.argv[2]); n=int(sys.argv[3])
sc=SCENARIOS[name]; work=tasks('refactor',seed,sc); al={'claude-0':Allowance(sc,Random(f'claude-0-{seed}'))}
st=MemoryStore(); t=Tally(); s=Service(work,al,sc,st,t,seed=seed); s.run(21*86400)
ev=st.events(most=10**6)
print(collections.Counter(e.name for e in ev), t)
for e in [e for e in ev if e.name.startswith('gate') or e.name in('job stuck',)][:n]:
    print(str(e.at)[5:19], e.name, {k:str(v)[:90] for k,v in e.data.items() if k in('until','early_at','reason','allow','origin')}, e.job)
ends=sorted(e.at for e in ev if e.name=='job ended'); print(ends[-5:])
