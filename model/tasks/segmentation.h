#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/confusion.h"
#include "model/task.h"

namespace fulmar::model {

// One of several classes a pixel: logits [N,H,W,K], labels u8 [N,H,W,1], or a label raster of any
// size with LABEL/samples beside it, which says how its pixels lie on the output's grid. The loss
// is ops::softmax_cross_entropy over the pixels with a label, the result "classes", index u8
// [N,H,W,1]. Metrics: those of Confusion, over all pixels with a label.
struct FULMAR_API Segmentation final : Task {
  // `of_rasters`: the classes' numbers in rasters of labels and of results; none: 0, 1, 2, …
  // Error(usage): not 2 to 255 classes, a pixel without a label looks like one of them, or not a
  // number for each.
  explicit Segmentation(std::vector<std::string> class_names, int64_t unlabelled = 255,
                        std::vector<int64_t> of_rasters = {});

  std::string kind() const override { return "segmentation"; }
  std::string to_json() const override;
  Recorded record(Tape& tape, Val output, const Target& target,
                  const LossOptions& options) const override;
  TensorSpec label_of(const Shape& output) const override {
    return {"", DType::u8, {output.images(), output.height(), output.width(), 1}};
  }
  std::unique_ptr<Meter> meter() const override;
  std::shared_ptr<const Task> with(const NamedValues&) const override {
    return std::make_shared<Segmentation>(*this);
  }

  std::vector<std::string> classes;  // in the order of the logits
  int64_t ignore;                    // the label of pixels without one
  std::vector<int64_t> numbers;      // of the classes in rasters; elsewhere their places count
};

// What such a task's meter counted. Error(usage): it is another's.
FULMAR_API const Confusion& counts_of(const Meter& meter);

std::shared_ptr<const Task> read_segmentation(const std::string& json);

}  // namespace fulmar::model
