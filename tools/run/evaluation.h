#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/pictures.h"
#include "engine/batch_source.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/calibration.h"
#include "model/metrics.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// A picture to be shown, such as one that a model got wrong.
struct Mistake {
  int64_t sample = 0;
  std::string png;                                   // a small picture of it
  int64_t height = 0, width = 0;                     // of that, pixels
  double left = 0, top = 0, side_x = 1, side_y = 1;  // the network's crop, shares of the picture
  // What speaks for the class that the model called, as colours over the small picture: see
  // explain_mistakes(). Empty: unknown.
  std::string cam_png{};
};

// A model's results for labelled pictures. `eval` and reports compute everything that they tell
// from it.
struct Evaluation {
  std::string set;           // "validation", "test" (held out by --test), or "" for a folder
  std::string model;         // file
  std::string folder;        // of the pictures
  std::string model_crc32c;  // of the file, eight hexadecimal digits
  std::string time;          // when, UTC
  std::string command;       // that gave it
  std::vector<std::string> classes;
  int64_t positive_class = -1;
  double threshold = 0.5;          // of two classes
  std::vector<std::string> files;  // within the folder, in the order of the predictions
  model::Predictions predictions;
  std::vector<Mistake> mistakes{};  // the worst of each kind, the worst first

  bool two_classes() const { return positive_class >= 0; }
  const std::string& positive() const { return classes[static_cast<size_t>(positive_class)]; }
  int64_t decision(int64_t sample) const;   // class
  bool right(int64_t sample) const;         // it is the label
  int64_t wrong() const;                    // samples whose decision is not their label
  std::vector<std::string> absent() const;  // classes without a picture
  // Probability of a class.
  float probability(int64_t sample, int64_t label) const;
};

// The scores are model::score's, with NaN for what an absent class leaves undefined.
struct Measured {
  model::Scores scores;
  model::Calibration calibration;
};
Measured measure(const Evaluation& evaluation);

// The JSON of `fulmar eval --json`; undefined numbers are null.
Json numbers_json(const Evaluation& evaluation);

// Lets the network say something of all pictures; `dataset` are those of `source`, which doesn't
// shuffle them. `progress` is called with the number of batches done. Fills in neither where the
// evaluation comes from nor the mistakes.
Evaluation evaluate(const Checkpoint& checkpoint, BatchSource& source, const data::Dataset& dataset,
                    Context& context, Device& device, const std::function<void(int64_t)>& progress);

// A picture with at most `side` pixels each way, and where the network's crop lies in it.
Mistake shown_picture(int64_t sample, const data::Pictures& pictures, const Preprocess& preprocess,
                      int64_t side);

// The wrong samples with the least probability of their own class: with two classes up to 6 missed
// ones and 6 false alarms, with more classes up to 12.
void add_mistakes(Evaluation& evaluation, const data::Pictures& pictures,
                  const Preprocess& preprocess);

// As a file: JSON, a line for each picture. Numbers are read back to the same bits.
std::string evaluation_text(const Evaluation& evaluation);
// Error(file) naming the file and what is wrong with it.
Evaluation read_evaluation(const std::string& path);

// What names the evaluation of a model file on a folder: "test-1a2b3c4d".
std::string evaluation_name(const std::string& folder, const std::string& model);
// The file of an evaluation in a run folder: one for each pair of a folder and a model file.
std::string evaluation_path(const std::string& run, const Evaluation& evaluation);

}  // namespace fulmar::tools
