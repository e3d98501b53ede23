#pragma once

#include <functional>
#include <optional>
#include <string>

#include "engine/context.h"
#include "kernels/error.h"
#include "model/run_folder.h"
#include "tools/run/observer.h"
#include "tools/run/run_record.h"
#include "tools/run/train_data.h"

namespace fulmar::tools {

// The error that kept a report from being made; none without one. Memory that ran out is
// Error(device), an exception of the standard library Error(file). None of them harms the training.
std::optional<Error> failure_of(const std::function<void()>& report);

// After a training with pictures held out by --test: lets the best model say something of them,
// keeps it in the run folder, and gives the numbers of `fulmar eval --json`; null without them.
// Error(file), Error(cancelled).
Json evaluate_test(const model::RunFolder& folder, const RunSamples& samples,
                   const Sources& sources, const std::string& command, Context& context,
                   Device& device, Observer& observer);

// After a training: lets the best model say something of the validation pictures, and keeps it in
// the run folder. Nothing without them. Error(file), Error(cancelled).
void evaluate_validation(const model::RunFolder& folder, const RunSamples& samples,
                         const Sources& sources, const std::string& command, Context& context,
                         Device& device, Observer& observer);

// What `fulmar check` finds in the pictures as the network gets them, of all parts: for the run's
// record. Error(cancelled).
Json data_json(const RunSamples& samples, const Sources& sources, Context& context,
               Observer& observer);

}  // namespace fulmar::tools
