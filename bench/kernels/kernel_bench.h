#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/op_table/op_table.h"
#include "engine/context.h"
#include "engine/session.h"

// Times the engine's ops one by one on a device, on the op table's benchmark rows: each node that a
// row records, forward or gradient, runs as the only node of a Session.
namespace fulmar::bench {

// A node of a row on a tape, before any device.
struct Kernel {
  std::string name;    // "conv2d_input_grad/block 4 first"
  std::string shapes;  // "[16,64,64,64], [1,1,32,64] -> [16,64,64,32]"
  int node = 0;
  bool own = true;  // the row's own op or its gradient; false: sums and the like beside it
  double flops = 0;

  // What `device` can't avoid to read or write: inputs once (of the row's first operand what it
  // needs), outputs once, what is updated in place twice.
  double bytes(const Device& device) const;

  struct Traffic {
    ValueInfo info;
    double times;
  };
  std::vector<Traffic> traffic;
};

// A row with its gradients on a tape.
struct Recorded {
  std::shared_ptr<Tape> tape;
  std::vector<op_table::Operand> operands;  // and the cotangent of the first output
  std::vector<Val> inputs;                  // one for each operand
  std::vector<Kernel> kernels;              // in tape order
};
Recorded record(const op_table::Case& row);

// A row on a device, ready to be timed: operands have values, and all nodes have run. Small rows
// are there several times, in memory of their own, so that a device's caches don't hold what is
// timed. Context and device must outlive it.
class PreparedRow {
 public:
  PreparedRow(Context& context, Device& device, const op_table::Case& row);

  const std::vector<Kernel>& kernels() const { return recorded_.kernels; }
  // Sessions of one kernel, one for each copy of the row.
  std::vector<Session> sessions(const Kernel& kernel);

 private:
  Context& context_;
  Device& device_;
  Recorded recorded_;
  std::vector<Session> copies_;
};

}  // namespace fulmar::bench
