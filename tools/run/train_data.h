#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/file_digests.h"
#include "data/loader.h"
#include "engine/context.h"
#include "tools/run/observer.h"
#include "tools/run/train_config.h"

namespace fulmar::tools {

// The pictures that a run trains or validates on, known by their headers.
struct Samples {
  data::Dataset dataset;
  std::vector<data::ImageHeader> headers;

  bool empty() const { return dataset.samples.empty(); }
  DType type() const { return headers.front().type; }
  std::optional<double> nodata() const { return headers.front().nodata; }
  int64_t count() const { return static_cast<int64_t>(dataset.samples.size()); }
  uint64_t bytes() const;                     // decoded
  uint64_t batch_bytes(int64_t batch) const;  // of a batch of whole pictures in a loader
};

struct RunSamples {
  Samples train, validation, test;  // the last two: empty where there are none
  data::LeftOut left_out;           // by the scan
  std::vector<std::string> notes;   // of the folders
  data::FileDigests digests;        // of the pictures' files, by path
};

// The dataset's parts as a training finds them; it doesn't look into the test part. Error(file).
data::Folder scan_training(const TrainConfig& config);

// Scans the dataset, splits it and looks at the headers; what the configuration leaves to the
// pictures is filled in: what is validated on, channels, nodata, and mean and deviation of each
// band of float32 without a range; of labels by pixel, classes and batches of an epoch.
// Error(file) naming a picture that can't be read or that doesn't fit the configuration;
// Error(cancelled). `known` digests spare reading files again, as those of the cache folder do.
RunSamples find_samples(TrainConfig& config, const TrainRuntime& runtime,
                        const data::FileDigests& known, Context& context, Observer& observer);

// The same without reading whole files: no digests, no statistics of bands, no notes.
RunSamples look_at_samples(TrainConfig& config, const TrainRuntime& runtime, Context& context);

struct Sources {
  std::shared_ptr<const data::Pictures> train_pictures, validation_pictures;
  std::shared_ptr<const data::Pictures> test_pictures;  // decoded when wanted
  std::unique_ptr<BatchSource> train, validation;       // validation: nullptr where there is none

  // Whether transparency was left out of a picture so far.
  bool dropped_alpha() const;
  // How often a picture to train or validate on was decoded so far.
  int64_t decoded() const;
};

data::LoaderOptions loader_options(const TrainConfig& config, const TrainRuntime& runtime,
                                   int threads);
// Of the training, and what one of them takes in memory, beside one of the validation.
int64_t batches_per_epoch(const RunSamples& samples, const TrainConfig& config);
uint64_t batches_bytes(const RunSamples& samples, const TrainConfig& config);

// Whether the decoded pictures stay in memory: --memory is for the training and the validation
// pictures together, the training pictures come first.
struct InMemory {
  bool train = false, validation = false;
};
InMemory kept_in_memory(const RunSamples& samples, const TrainRuntime& runtime);

// Decodes the pictures into the cache file, or prepares to do so batch by batch. Error(cancelled).
Sources open_sources(const RunSamples& samples, const TrainConfig& config,
                     const TrainRuntime& runtime, Context& context, Observer& observer);

}  // namespace fulmar::tools
