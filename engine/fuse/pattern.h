#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/device.h"
#include "engine/fuse/fuse.h"
#include "engine/tape.h"

// What a fusion is made of: a pattern finds a run of ops on a tape, and records what takes their
// place.
namespace fulmar {

// A view of no memory, where a device is asked about shapes.
inline View shaped(const Shape& shape) { return view_of(nullptr, shape, DType::f32); }

// A batch normalisation of z, and with an activation its relu; without sums by given mean and
// variance (batch_norm in place of batch_norm_train).
struct Normalised {
  Val z, gamma, beta, mean, var, sums;
  double epsilon = 0;

  std::array<Val, 6> operands() const { return {z, gamma, beta, mean, var, sums}; }
};

// The sums of a value, about a shift.
struct SumsAbout {
  Val sums, shift;
};

// A tape with the readers of its values.
class Graph {
 public:
  Graph(const Tape& tape, const Device& device, std::span<const Val> keep, const GradRules& rules);

  const Tape& tape() const { return tape_; }
  const Device& device() const { return device_; }
  const Node& node(int index) const { return tape_.node(index); }
  const Node& node(Val v) const { return tape_.node(v.node); }

  const std::vector<int>& readers(Val v) const {
    return readers_[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
  }
  bool kept(Val v) const;
  // Whether an op may become part of another: no gradient rule is for it.
  bool free(const Node& node) const;
  // Whether nobody but one node reads the value.
  bool inner(Val v) const { return readers(v).size() == 1 && !kept(v); }
  // The value as its normalisation, where it is one, may become part of another op, and has one
  // reader.
  std::optional<Normalised> norm(Val y) const;
  // The value as its normalisation and relu, where it is one, and nobody else reads what the
  // normalisation gives.
  std::optional<Normalised> normalised(Val activation) const;
  // The value's channel sums, where a kernel could make them: about a leaf that stays as it is
  // until then, since other values may come later than the kernel.
  std::optional<SumsAbout> channel_sums(Val z) const;

 private:
  // Whether no update between two nodes changes a leaf. Other values never change.
  bool unchanged(Val leaf, int from, int to) const;

  const Tape& tape_;
  const Device& device_;
  const GradRules& rules_;
  std::map<Val, std::vector<int>> updates_;  // of leaves, ascending nodes
  std::vector<std::vector<std::vector<int>>> readers_;
  std::vector<Val> keep_;
};

// Records what takes the place of a match.
class Recorder {
 public:
  virtual ~Recorder() = default;
  virtual Tape& tape() = 0;
  // A value of the tape before on the new one.
  virtual Val now(Val before) = 0;
  Normalised now(Normalised before) {
    for (Val* v : {&before.z, &before.gamma, &before.beta, &before.mean, &before.var, &before.sums})
      *v = now(*v);
    return before;
  }
  // An activation that the match can load normalised: how, in new values. Empty: it is in memory.
  virtual std::optional<Normalised> loads(Val before) = 0;
};

struct Match {
  int at = -1;             // the node whose place the record takes
  std::vector<int> nodes;  // all that it stands for, `at` included
  std::vector<Val> reads;  // values from outside
  // Activations from outside that it can normalise while it loads them, and those that it must.
  std::vector<Val> loads, must_load;
  // Values of the nodes that others read, and what they are on the new tape.
  std::function<std::vector<std::pair<Val, Val>>(Recorder&)> record;
};

// The run of ops that ends at a node, where it is one.
using Pattern = std::optional<Match> (*)(const Graph&, int node);

// Patterns that are looked for together, one after the other, each from a tape's end: of several
// matches that want a node the first stands.
using Patterns = std::vector<Pattern>;
// All of them. Each list is for the tape that the one before leaves.
const std::vector<Patterns>& patterns(FuseFor use);

}  // namespace fulmar
