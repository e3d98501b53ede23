#pragma once

#include <cstdint>
#include <vector>

namespace fulmar::simt {

// The order in which the threads of a block, and the blocks of a launch, get their turns. Right
// kernels give the same bits in every order.
struct Order {
  enum class Kind { forward, reverse, seeded };
  Kind kind = Kind::forward;
  uint64_t seed = 0;  // seeded: a new shuffle at every turn
};

// The order of launches from this thread.
Order order();

// Another order, while it lives.
class UseOrder {
 public:
  explicit UseOrder(Order order);
  ~UseOrder();
  UseOrder(const UseOrder&) = delete;
  UseOrder& operator=(const UseOrder&) = delete;

 private:
  Order before_;
};

// Visits the numbers below `count`, each once, in an order of their own: from a first one on, by
// steps that have no divisor in common with count. A list of a grid's blocks could be too long.
class Strides {
 public:
  Strides(Order order, uint64_t count);
  uint64_t next();

 private:
  uint64_t count_, at_, step_;
};

// Permutations of 0 … count - 1, one after the other.
class Turns {
 public:
  explicit Turns(Order order) : order_(order), state_(order.seed) {}
  void next(std::vector<unsigned>& turns);

 private:
  Order order_;
  uint64_t state_;
};

}  // namespace fulmar::simt
