"""How fast the kernels and the networks are, beside the machine's limits and beside other libraries.

`minialex bench` is the way in. Every figure is taken in this order: measure what the machine can do,
check that every contestant computes the right thing, warm it up, time all of them in turns.

what is measured
    kernel_runs   every kernel of an operation, on the shapes of `workloads`
    step_runs     whole training steps and inference, ours and other libraries'
    memory_runs   the peak memory of a step
    scaling_runs  how cost grows with batch, image size and threads
    profiling     where the time of a step goes, layer by layer

how
    timing        in turns; median and spread
    noise         whether the machine was quiet enough to conclude anything
    limits        multiply-add peak and copy bandwidth
    machine       what the machine is
    agreement     what "computes the right thing" means
    worker        a process of its own for one contestant

who
    contestants   the names, and which libraries they need
    ours, torch_peer, inference_peers, onnx_graph

what is left
    report        JSON, pictures, and the folder they go to
"""
