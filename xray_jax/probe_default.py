from xray_jax.probe_null import Null
G={f:(.05,.1,.2,.3,.35,.4,.5,.6,.7) for f in ('patch','mosaic','border')}
G|={f:(.3,.6,.9,.9,1,1,1,1,1) for f in ('sinusoid','quantise','focus','blend-noise')}
G|={'line': (.05,.25,.4,.7,.8,1,1,1,1)}
G|={f:(.1,.15,.2,.3,.4,.5,.6,.8,1) for f in ('cosine','shift','blend-colour','blend-image','warp')}
DEFAULT_NULL=Null({k:tuple(v) for k,v in G.items()})
