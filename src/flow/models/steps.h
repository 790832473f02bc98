// What this room lends to pipelines as steps. Each is idempotent per (run, step): called again after a crash it answers
// what it did.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "flow/models/models.h"
#include "flow/pipelines/types.h"

namespace tidemill::models {

// Inputs are found by their name, with or without an extension: "onnx" or "onnx.onnx". Parquet is known by its first
// bytes, CSV by ".csv".

// models.parity. with: ParityLimits, and `column` (default "probability"). inputs: onnx; columns (columns.json); rows
// (Parquet or CSV of the columns) and predictions (a table with `column`, row by row as `rows`), or one table in `rows`
// that has both. Returns the Parity and {"passed": true}, and writes it to outputs/parity.json. An error when it is
// missed.
[[nodiscard]] Result<json::Object> parity_step(Models& models, const pipelines::BuiltinCall& call);

// models.register. with: model (made when there is none), description, run_id, source, tags, datasets [{dataset,
// number}], feature_view, window {from_ms, to_ms}. inputs: onnx, columns; parity (what models.parity wrote), baseline
// (Parquet or CSV of the training rows), both optional; any other is kept with the version under its name. Returns
// {model, number, digest, state}.
[[nodiscard]] Result<json::Object> register_step(Models& models, const pipelines::BuiltinCall& call);

// models.gate. with: GateOptions, model, version (number), requirement, and on_fail: "report" (default: the step
// succeeds with passed = false, so that `when` can look at it) or "fail". inputs: data, the labelled rows. Returns the
// GateReport.
[[nodiscard]] Result<json::Object> gate_step(Models& models, const pipelines::BuiltinCall& call);

}  // namespace tidemill::models
