#pragma once

#include <doctest/doctest.h>

#include "kernels/simt/order.h"

namespace fulmar::test {

// Runs body() with threads and blocks in four orders.
template <class Body>
void in_every_order(const Body& body) {
  using simt::Order;
  for (const Order& order : {Order{Order::Kind::forward, 0}, Order{Order::Kind::reverse, 0},
                             Order{Order::Kind::seeded, 1}, Order{Order::Kind::seeded, 2}}) {
    const int kind = static_cast<int>(order.kind);
    CAPTURE(kind);
    CAPTURE(order.seed);
    const simt::UseOrder use(order);
    body();
  }
}

}  // namespace fulmar::test
