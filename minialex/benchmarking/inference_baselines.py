"""ONNX Runtime and OpenVINO as contestants, on the graph of `onnx_graph`, in float32."""

from __future__ import annotations

import numpy as np

from minialex.benchmarking.contestant import Contestant
from minialex.benchmarking.onnx_graph import onnx_model
from minialex.benchmarking.tasks import Task


class OnnxRuntime(Contestant):
    """ONNX Runtime with its CPU provider and all its optimisations."""

    def __init__(self, task: Task, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Its threads would else go on spinning after a run, beside the next contestant's.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        model = onnx_model(task.network(), task.batch).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.images = task.images()

    def results(self) -> list[np.ndarray]:
        return self.run()

    def run(self) -> list[np.ndarray]:
        return self.session.run(None, {"images": self.images})


class OpenVino(Contestant):
    """OpenVINO on the CPU, tuned for the time of one batch, kept from computing in 16 bits."""

    def __init__(self, task: Task, threads: int):
        import openvino

        core = openvino.Core()
        model = core.read_model(onnx_model(task.network(), task.batch).SerializeToString())
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.request = core.compile_model(model, "CPU", options).create_infer_request()
        self.images = task.images()

    def results(self) -> list[np.ndarray]:
        return [self.run()]

    def run(self) -> np.ndarray:
        return np.array(self.request.infer([self.images], share_inputs=True)[0])
