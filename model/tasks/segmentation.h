#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/confusion.h"
#include "model/task.h"

namespace fulmar::model {

constexpr double most_class_weight = 1e6;

// What a wrong pixel costs, with p the probability of its own class and c that class's weight; the
// mean over pixels with a label is by c:
//   cross-entropy  -c log p
//   focal          -c (1 - p)^gamma log p (Lin et al. 2017)
//   dice           c (1 - p): one minus Dice's coefficient of all classes together
//   tversky        1 - TP / (TP + alpha FP + beta FN) of each class that a label has, of all pixels
//                  of the batch, with probabilities as calls; the mean over these classes is by c
//                  (Salehi et al. 2017)
//   mse, mae       c (y - t)^2, c |y - t|: the output is one number y of each pixel, in the unit of
//                  the classes' own numbers t; a pixel is called the class whose number is nearest
struct PixelLoss {
  std::string kind = "cross-entropy";
  int64_t gamma = 2;                    // of focal; 1 to 10
  std::vector<double> class_weights{};  // c, by class, 0 to most_class_weight; none: 1
  double alpha = 0.5, beta = 0.5;       // of tversky: what false alarms and misses cost; 0 to 10
  std::string unit{};                   // of mse and mae, for people

  bool of_numbers() const { return kind == "mse" || kind == "mae"; }
};

// One of several classes a pixel: logits [N,H,W,K] (of a loss of_numbers [N,H,W,1]), labels u8
// [N,H,W,1], or a label raster of any size with LABEL/samples beside it, which says how its pixels
// lie on the output's grid. The loss is a PixelLoss over the pixels with a label, 0 where none has
// one; the results are "classes", index u8 [N,H,W,1], and, of_numbers, "values" [N,H,W,1]. Metrics:
// those of Confusion, over all pixels with a label.
struct FULMAR_API Segmentation final : Task {
  // `of_rasters`: the classes' numbers in rasters of labels and of results; none: 0, 1, 2, …
  // Error(usage): not 2 to 255 classes, a pixel without a label looks like one of them, not a
  // number or a weight for each, or a loss that there isn't.
  explicit Segmentation(std::vector<std::string> class_names, int64_t unlabelled = 255,
                        std::vector<int64_t> of_rasters = {}, const PixelLoss& how = {});

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

  // Of the network's output.
  int64_t channels() const { return loss.of_numbers() ? 1 : std::ssize(classes); }

  std::vector<std::string> classes;  // in the order of the logits
  int64_t ignore;                    // the label of pixels without one
  std::vector<int64_t> numbers;      // of the classes in rasters; elsewhere their places count
  PixelLoss loss;

 private:
  // Of values [N,H,W,1]: [N,H,W,K], the largest of the class whose number is nearest.
  Val nearness(Tape& tape, Val values) const;
  Val number_rows(Tape& tape, Val values, Val scores, Val label, Val weight) const;
};

// What such a task's meter counted. Error(usage): it is another's.
FULMAR_API const Confusion& counts_of(const Meter& meter);

std::shared_ptr<const Task> read_segmentation(const std::string& json);

}  // namespace fulmar::model
