#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/georeference.h"
#include "data/image.h"
#include "engine/context.h"
#include "engine/picture/geometry.h"
#include "model/classifier.h"

namespace fulmar::tools {

struct PredictorOptions {
  std::string model;                 // file
  std::vector<std::string> paths;    // pictures, and folders of pictures
  std::optional<std::string> bands;  // patterns of the files of a sample; none: as the model's
  int64_t batch = 0;  // pictures that go through the network together; 0: by the crop
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
};

// A picture and what the model says of it.
struct PredictedPicture {
  std::string path;
  std::string error;         // why there is no result; empty where there is one
  data::ImageHeader header;  // of the whole picture
  data::Georeference place;
  SeenArea seen;                     // of the picture, by the network
  std::vector<double> logits;        // by class
  std::vector<float> probabilities;  // by class
};

// Applies a model file to pictures in files, some batches at a time: reads what the network sees of
// each, and takes pictures of one size and type through it together. A picture that can't be used
// has an error and stops nothing.
class Predictor {
 public:
  // Error(file), Error(usage) as Classifier and BandFiles. Context and Device must outlive it.
  Predictor(Context& context, Device& device, const PredictorOptions& options);
  ~Predictor();

  const model::Classifier& classifier() const { return classifier_; }
  const data::BandFiles& bands() const { return bands_; }
  // All pictures in their order; those before done() have their results.
  std::span<const PredictedPicture> pictures() const { return pictures_; }
  size_t done() const { return done_; }

  // Predicts the next pictures, and gives them; none at the end. Error(cancelled).
  std::span<const PredictedPicture> next();
  // Whether transparency was left out of a picture so far.
  bool dropped_alpha() const { return dropped_alpha_; }

 private:
  struct Decoded;
  const Preprocess& preprocess() const { return classifier_.preprocess(); }
  const CentrePart& part_of(const data::ImageHeader& header);
  int64_t require_room(const PredictedPicture& picture);
  size_t probe_window();
  void decode(size_t to);
  void predict(size_t to);
  void predict_batch(std::span<const size_t> members);

  Context* context_;
  model::Classifier classifier_;
  data::BandFiles bands_;
  std::vector<PredictedPicture> pictures_;
  data::ImageLimits limits_;
  int64_t batch_;
  size_t done_ = 0;
  std::vector<Decoded> decoded_;  // of the pictures from done_ on
  bool dropped_alpha_ = false;
  std::optional<CentrePart> part_;  // of the latest extents
  int64_t part_height_ = 0, part_width_ = 0;
};

}  // namespace fulmar::tools
