"""What the compilers make of the CUDA kernels, read without a GPU: `minialex kernels inspect`.

Modules:

    compile.py       a source as machine code of one architecture, and what ptxas says of it
    launch_bounds.py the largest block of a kernel, from the same file
    disassemble.py   machine code as instructions, by nvdisasm
    loops.py         the hottest of their loops, and what its instructions are
    occupancy.py     how many blocks fit on a multiprocessor
    kernels.py       all of this for the kernels of a source
    gpus.py          the datasheets of some GPUs
    launches.py      what a training step would launch
    roofline.py      the time predicted for each layer, from those figures and a datasheet
    budgets.py       what the figures of the project's kernels must not exceed
"""
