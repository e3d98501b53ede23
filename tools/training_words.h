#pragma once

#include <string>
#include <vector>

#include "model/summary.h"
#include "tools/report.h"

namespace fulmar::tools {

// What whoever trained a model must know before trusting it, a sentence each: outputs that are all
// nearly equal, training that is right where validation is at chance, a best epoch that is the
// first, a threshold chosen on few pictures. `validation`: what the best model says of the
// validation pictures, nullptr where there is nothing.
std::vector<std::string> training_words(const model::MetricsTable& metrics, int64_t best_epoch,
                                        const Evaluation* validation);
std::vector<std::string> training_words(const Report& report);

// That a crop is too small for so many blocks; empty where it is not.
std::string small_crop_word(const Network& network, const model::Summary& summary, int64_t crop);

}  // namespace fulmar::tools
