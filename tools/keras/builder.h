#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/network.h"
#include "tools/keras/layer_call.h"

namespace fulmar::keras {

// The calls of a network that is read, recorded onto a tape as they come in: so shapes are known,
// and what doesn't fit is found at its layer.
class Builder {
 public:
  explicit Builder(int major_version) : major_version_(major_version) {}

  // What calls are named after, and where their weights lie, until the next one.
  struct Layer {
    LayerWeights place;       // without weights
    std::string scope, base;  // base: of the calls' names
    int64_t calls = 0;        // how often the layer was called before
  };
  void set_layer(const Layer& layer) { layer_ = layer; }

  // Names that layers of the outermost model have: others' names step aside.
  void reserve(const std::string& name) { taken_.insert(name); }
  bool is_taken(const std::string& name) const { return taken_.count(name) > 0; }
  // A name like this one that no call has.
  std::string unique(const std::string& name);

  std::string add_input(const std::string& name, const Shape& shape);
  // As LayerCall::add.
  std::string add(const std::string& op, const std::string& part, const std::vector<Value>& inputs,
                  const Attributes& attributes, std::vector<WeightPlace> weights, bool frozen);
  void mark(const std::string& call, const FromInput& how) { marks_[call] = how; }
  void note(const std::string& sentence);

  Shape shape(const std::string& call) const { return tape_.shape(values_.at(call)); }
  int major_version() const { return major_version_; }

  // ---- the whole
  std::vector<Call>& calls() { return calls_; }
  const std::map<std::string, FromInput>& marks() const { return marks_; }
  std::vector<LayerWeights>& weights() { return weights_; }
  std::vector<std::string>& notes() { return notes_; }

 private:
  static constexpr int64_t max_elements = int64_t{1} << 30;  // of all weights
  void record(const Call& call);

  int major_version_;
  int64_t elements_ = 0;
  Layer layer_;
  Tape tape_;
  std::map<std::string, Val> values_;
  std::vector<Call> calls_;
  std::set<std::string> taken_;
  std::map<std::string, std::string> first_;  // call of a layer by its path and part
  std::map<std::string, FromInput> marks_;
  std::vector<LayerWeights> weights_;
  std::vector<std::string> notes_;
};

}  // namespace fulmar::keras
