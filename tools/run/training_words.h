#pragma once

#include <string>
#include <vector>

#include "model/metrics_csv.h"
#include "model/summary.h"
#include "tools/run/evaluation.h"

namespace fulmar::tools {

// Warnings about a trained model, a sentence each: all its outputs are nearly equal, training is
// right but validation at chance, the best epoch is the first, few pictures chose the threshold.
// `validation`: the best model's outputs for the validation pictures; nullptr: there are none.
std::vector<std::string> training_words(const model::MetricsTable& metrics, int64_t best_epoch,
                                        const Evaluation* validation);

// A warning where a crop is too small for the network's number of blocks, else "".
std::string small_crop_word(const Network& network, const model::Summary& summary, int64_t crop);

}  // namespace fulmar::tools
