#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/georeference.h"
#include "data/image.h"
#include "engine/context.h"
#include "engine/picture/geometry.h"
#include "model/explain/faithfulness.h"
#include "model/explain/mask.h"
#include "model/loaded_model.h"
#include "tools/run/explain_target.h"
#include "tools/run/receptive_field.h"

namespace fulmar::tools {

enum class BaselineKind { black, mean, blurred, given };

struct ExplainOptions {
  std::string model;                 // file
  std::vector<std::string> paths;    // pictures, and folders of pictures
  std::optional<std::string> bands;  // as PredictorOptions
  std::string out;                   // folder
  std::vector<std::string> methods{"grad-cam", "integrated-gradients"};
  std::string target;             // as explained_task(); empty: the class that the model says
  RegionChoice region{};          // of models that give each pixel a class
  std::optional<int64_t> crop{};  // of such models: the side of what is explained
  bool field = false;             // measure the effective receptive field too
  bool probability = false;       // explain it instead of the logit
  BaselineKind baseline = BaselineKind::black;
  std::string baseline_file;  // a picture, where it is given
  model::explain::Settings settings{};
  bool check = false;  // measure each map's faithfulness too
  bool mask = false;   // make a mask of each map
  model::explain::MaskOptions masks{};
  std::string truth;  // folder of masks that were drawn; empty: as find_mask()
  int64_t memory = model::explain::ExplainerOptions{}.memory;  // bytes
  bool fuse = true;
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
};

// How faithful a map is to the network: the measures of model/explain/faithfulness.h.
struct MapCheck {
  model::explain::ScoreCurve deletion, insertion;
  double infidelity = 0, sensitivity = 0;
  std::vector<std::pair<std::string, double>> randomisation;  // correlation by layer
};

// One method's map of one picture, as files have it and as a report shows it.
struct ShownMap {
  const model::explain::Method* method;
  std::string layer;  // of CAMs
  double score = 0, seconds = 0;
  std::optional<double> baseline_score{}, error{}, relative_error{};
  double peak = 0;                 // what 1 is on the colour scale, of a pixel shown
  double largest = 0;              // of the raw map
  double peak_x = 0, peak_y = 0;   // where its largest value lies, pixels of the picture
  std::string heat_png;            // over the small picture
  std::vector<std::string> files;  // written
  std::optional<MapCheck> check{};
  // Beside a mask that was drawn.
  std::optional<bool> points_inside{};
  std::optional<model::explain::MaskScores> mask_scores{};
};

// What is known of a picture's mask, of the pixels that the network saw.
struct ShownTruth {
  std::string path;
  double share = 0;     // of them inside: how often a random pixel is
  bool centre = false;  // whether the middle one is
  std::optional<model::explain::MaskScores> brightness{};  // of the picture, put to a threshold
};

struct ExplainedPicture {
  std::string path;
  std::string error;  // why there is nothing; empty where there is
  data::ImageHeader header;
  SeenArea seen;
  std::vector<double> logits;
  std::vector<double> probabilities;
  int64_t target = 0;  // class
  // Of pixels: those whose logits are explained. `logits` are then their means over the region,
  // `probabilities` the shares of pixels called each class.
  std::string region{};  // what they are; empty: the whole picture has one class
  int64_t pixels = 0;
  std::string png;  // small
  int64_t small_height = 0, small_width = 0;
  std::vector<ShownMap> maps;
  std::optional<ShownTruth> truth{};  // where there is a mask with something in it
  // Of checks: pixels in random order, the mean of several.
  std::optional<model::explain::ScoreCurve> random_deletion{}, random_insertion{};
};

// Explains a model's decisions on pictures, or on some of their pixels, one at a time, and writes
// each map's files:
// STEM.METHOD.npy on the grid of the whole picture, STEM.METHOD.grid.npy on a layer's own grid,
// STEM.METHOD.tif where the picture says where it lies, and STEM.METHOD.png, laid over the picture;
// masks as STEM.METHOD.mask.png, and .mask.tif.
class PictureExplainer {
 public:
  // Error(file), Error(usage) as LoadedModel and Method; Error(file) too where the folder can't be
  // made. Context and Device must outlive it.
  PictureExplainer(Context& context, Device& device, const ExplainOptions& options);
  ~PictureExplainer();

  const std::vector<std::string>& paths() const { return paths_; }
  const model::LoadedModel& model() const { return *model_; }
  const ExplainedTask& task() const { return task_; }
  const model::explain::Explainer& explainer() const { return *explainer_; }
  // The layer that CAMs look at.
  std::string layer() const;
  // Error(cancelled), Error(device); what is wrong with the picture is in the result.
  ExplainedPicture explain(const std::string& path);
  // The effective receptive fields over the pictures explained so far, where they were asked for,
  // by task. Error(file).
  std::vector<EffectiveField> fields() const;

 private:
  void explain(ExplainedPicture& picture);
  std::vector<float> baseline_of(std::span<const float> input) const;
  MapCheck check(const model::explain::Method& method, const model::explain::Explanation& map,
                 std::span<const float> input, const model::explain::Target& target,
                 const model::explain::Settings& settings);
  // All that is known of the picture that is explained.
  struct Subject;
  void prepare_pixels();
  void choose_target(ExplainedPicture& picture, Subject& subject);
  ShownMap show(const model::explain::Method& method, const Subject& subject);
  void show_mask(ShownMap& shown, const std::vector<float>& map, const std::string& stem,
                 const Subject& subject);

  Context* context_;
  Device* device_;
  ExplainOptions options_;
  std::shared_ptr<const model::LoadedModel> model_;
  ExplainedTask task_;
  Preprocess preprocess_;
  data::BandFiles bands_;
  std::vector<std::string> paths_, stems_;
  std::unique_ptr<model::explain::Explainer> explainer_;
  std::unique_ptr<RegionFinder> regions_;  // of pixels
  std::vector<FieldMeter> fields_;
  std::vector<float> given_baseline_;
};

}  // namespace fulmar::tools
