#pragma once

#include <functional>
#include <optional>
#include <string>

#include "engine/context.h"
#include "kernels/error.h"
#include "model/run_folder.h"
#include "tools/run_record.h"
#include "tools/train_data.h"

namespace fulmar::tools {

// The error that kept a report from being made; none without one. Memory that ran out is
// Error(device), an exception of the standard library Error(file). None of them harms the training.
std::optional<Error> failure_of(const std::function<void()>& report);

// After a training with pictures held out by --test: lets the best model say something of them,
// keeps it in the run folder, and gives the numbers of `fulmar eval --json`; null without them.
// Error(file), Error(cancelled) as below.
Json evaluate_test(const model::RunFolder& folder, const RunSamples& samples,
                   const Sources& sources, const std::string& command, Context& context,
                   Device& device);

// After a training: looks its pictures over, lets the best model say something of the validation
// pictures, and writes report.html. Error(file) where one of the files can't be written;
// Error(cancelled) on a signal.
void report_training(const model::RunFolder& folder, RunRecord& record, const RunSamples& samples,
                     const Sources& sources, const std::string& command, Context& context,
                     Device& device);

// The report of a training that did not end: of the files there are. It tells an error and goes on.
void report_unfinished(const model::RunFolder& folder, RunRecord& record, const std::string& ended);

}  // namespace fulmar::tools
