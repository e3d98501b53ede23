#include "kernels/simt/order.h"

#include <algorithm>
#include <numeric>

namespace fulmar::simt {
namespace {

thread_local Order chosen{};

// splitmix64 (Steele, Lea & Flood 2014)
uint64_t random_bits(uint64_t& state) {
  uint64_t x = state += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

Order order() { return chosen; }

UseOrder::UseOrder(Order order) : before_(chosen) { chosen = order; }
UseOrder::~UseOrder() { chosen = before_; }

Strides::Strides(Order order, uint64_t count) : count_(count), at_(0), step_(1) {
  if (order.kind == Order::Kind::reverse) at_ = count - 1, step_ = count - 1;
  if (order.kind != Order::Kind::seeded) return;
  uint64_t state = order.seed;
  at_ = random_bits(state) % count;
  do step_ = 1 + random_bits(state) % count;
  while (std::gcd(step_, count) != 1);
}

uint64_t Strides::next() {
  const uint64_t now = at_;
  at_ = (at_ + step_) % count_;
  return now;
}

void Turns::next(std::vector<unsigned>& turns) {
  std::iota(turns.begin(), turns.end(), 0u);
  if (order_.kind == Order::Kind::reverse) std::reverse(turns.begin(), turns.end());
  if (order_.kind == Order::Kind::seeded)
    for (size_t i = turns.size(); i > 1; i--)
      std::swap(turns[i - 1], turns[random_bits(state_) % i]);
}

}  // namespace fulmar::simt
