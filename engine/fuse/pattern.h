#pragma once

#include <functional>
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

// An activation as relu(batch_norm_train(z)), or without sums as relu(batch_norm(z)).
struct Normalised {
  Val z, gamma, beta, mean, var, sums;
  double epsilon = 0;
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
  // The value as its normalisation and relu, where it is one, and nobody else reads what the
  // normalisation gives.
  std::optional<Normalised> normalised(Val activation) const;

 private:
  const Tape& tape_;
  const Device& device_;
  const GradRules& rules_;
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

// Patterns that are looked for together, from a tape's end: of several that want a node the later
// match takes it, and of one node's the first.
using Patterns = std::vector<Pattern>;
// All of them. Each list is for the tape that the one before leaves.
const std::vector<Patterns>& patterns(FuseFor use);

}  // namespace fulmar
