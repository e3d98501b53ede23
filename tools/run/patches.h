#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/patch_loader.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/run_folder.h"
#include "tools/run/json.h"
#include "tools/run/observer.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/train_data.h"

// What a training on labels by pixel does otherwise than one on labelled pictures.
namespace fulmar::tools {

// Fills in classes and batches of an epoch. Errors as choose_classes().
void choose_patches(TrainConfig& config, const RunSamples& samples, const TrainRuntime& runtime,
                    Context& context, Observer& observer);

// Network, preprocessing and heads of a new model.
ModelInfo pixel_model(const TrainConfig& config, const std::vector<std::string>& layers,
                      DType type);

// Patches to train on (drawn), or to validate on (each pixel once).
std::unique_ptr<BatchSource> patches_of(const Samples& samples,
                                        const std::shared_ptr<const data::Pictures>& pictures,
                                        bool train, const TrainConfig& config,
                                        const TrainRuntime& runtime, Context& context);
uint64_t patch_batch_bytes(const TrainConfig& config, const Samples& samples, bool train);

// The best model's numbers on the pictures held out by --test, which it tells; null without them.
Json evaluate_test_pixels(const model::RunFolder& folder, const Samples& test,
                          const std::shared_ptr<const data::Pictures>& pictures,
                          const TrainConfig& config, const TrainRuntime& runtime, Context& context,
                          Device& device, Observer& observer);

}  // namespace fulmar::tools
