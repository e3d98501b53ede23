#pragma once

#include <doctest/doctest.h>

#include <span>

#include "kernels/simt/order.h"

namespace fulmar::test {

// Runs body() with threads and blocks in four orders, or the first `count` of them.
template <class Body>
void in_every_order(const Body& body, size_t count = 4) {
  using simt::Order;
  constexpr Order orders[] = {{Order::Kind::forward, 0},
                              {Order::Kind::reverse, 0},
                              {Order::Kind::seeded, 1},
                              {Order::Kind::seeded, 2}};
  for (const Order& order : std::span(orders).first(count)) {
    const int kind = static_cast<int>(order.kind);
    CAPTURE(kind);
    CAPTURE(order.seed);
    const simt::UseOrder use(order);
    body();
  }
}

}  // namespace fulmar::test
