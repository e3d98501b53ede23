#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/ops.h"

namespace fulmar::model::explain {

// The number that is explained: a value of the network, put through `link`, each element times its
// weight, summed. Class k's logit has one weight of 1; the logits of a region have a mask's; the
// similarity to another picture has that picture's features.
struct FULMAR_API Target {
  enum class Link {
    none,
    softmax,  // over the channels
    sigmoid,
    direction  // the value over its Euclidean norm
  };
  std::string value{};  // a layer's name; empty: the network's only output
  Link link = Link::none;
  std::vector<float> weights{};  // row-major, of the value [1,h,w,C] of one sample

  friend bool operator==(const Target&, const Target&) = default;
};

// Of a value [1,h,w,classes] that holds logits; over all its pixels where there are several.
// Error(usage) for a class that it doesn't have.
FULMAR_API Target class_logit(const Shape& value, int64_t number);
FULMAR_API Target class_probability(const Shape& value, int64_t number);
// The sum of a class' logits over the pixels of a mask [h,w], each times the mask's number.
FULMAR_API Target region(const Shape& value, int64_t number, std::span<const float> mask);
// The cosine of the angle between a value and these features, of the same elements.
FULMAR_API Target similarity(std::span<const float> features);

// Appends a target's number for each sample: [N,1,1,1], a statistic. `weights`: [1,h,w,C].
FULMAR_API Val record_score(Tape& tape, Val value, Target::Link link, Val weights);

}  // namespace fulmar::model::explain
