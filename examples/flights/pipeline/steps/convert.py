"""Converts the LightGBM model to ONNX: one input of float32 rows, outputs `label` and `probabilities`."""

import joblib
import tidemill
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

OPSET = 15

step = tidemill.step()
model = joblib.load(step.input("model.joblib"))
rows = FloatTensorType([None, model.n_features_in_])
onnx = convert_lightgbm(model, initial_types=[("features", rows)], zipmap=False, target_opset=OPSET)
# The converter declares one label for the whole batch; there is one a row.
for output in onnx.graph.output:
    first = output.type.tensor_type.shape.dim[0]
    first.Clear()
    first.dim_param = "rows"
step.output("model.onnx").write_bytes(onnx.SerializeToString())
