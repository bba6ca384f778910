"""What an update of gradient descent returns: nothing, it changes its arrays."""

from minialex.kernels.contract.results import results


@results("sgd.update")
def nothing(*arrays, call):
    return None
