#include <map>
#include <span>
#include <vector>

#include "engine/ops.h"
#include "engine/tape.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

// Numbers with the shape and role of x.
Val constant_like(Tape& tape, Val x, double value) {
  const ValueInfo info = tape.info(x);
  return ops::constant(tape, info.shape, value, info.role);
}

// Which nodes lie behind a value of `wrt`, so that their outputs' cotangents are of use.
std::vector<bool> depends_on(const Tape& tape, std::span<const Val> wrt, int end) {
  std::vector<bool> depends(static_cast<size_t>(end), false);
  for (int n = 0; n < end; n++)
    for (Val x : tape.node(n).inputs) {
      if (!x) continue;
      for (Val w : wrt) depends[n] = depends[n] || x == w;
      depends[n] = depends[n] || depends[x.node];
    }
  return depends;
}

}  // namespace

std::vector<Val> grad(Tape& tape, Val y, std::span<const Val> wrt, Val dy) {
  if (!dy) dy = constant_like(tape, y, 1);
  if (tape.shape(dy) != tape.shape(y))
    usage_error("grad: the cotangent has shape " + tape.shape(dy).to_string() +
                ", the value it belongs to " + tape.shape(y).to_string());
  dy = ops::as_role(tape, dy, tape.info(y).role);
  const std::vector<bool> depends = depends_on(tape, wrt, y.node + 1);
  std::map<Val, Val> cotangent{{y, dy}};

  for (int n = y.node; n >= 0; n--) {
    if (!depends[n]) continue;
    // Copies: a gradient rule appends to the tape.
    const std::vector<Val> inputs = tape.node(n).inputs;
    std::vector<Val> outputs, dys;
    bool reached = false;
    for (int i = 0; i < static_cast<int>(tape.node(n).outputs.size()); i++) {
      const auto found = cotangent.find(Val{n, i});
      outputs.push_back(Val{n, i});
      dys.push_back(found == cotangent.end() ? Val{} : found->second);
      reached = reached || dys.back();
    }
    if (!reached) continue;

    std::vector<bool> wanted;
    for (Val x : inputs) {
      bool want = x && depends[x.node];
      for (Val w : wrt) want = want || (x && x == w);
      wanted.push_back(want);
    }
    const auto scope = tape.scope_of(n);
    std::vector<Val> dx;
    try {
      dx = tape.node(n).op->vjp(Vjp{tape, inputs, outputs, dys, wanted, wrt});
    } catch (const Error& error) {
      throw Error(error.kind(), "grad through " + tape.describe(n) + ": " + error.what());
    }
    for (size_t i = 0; i < inputs.size(); i++) {
      if (!wanted[i] || !dx[i]) continue;
      const auto [at, first] = cotangent.emplace(inputs[i], dx[i]);
      if (!first) at->second = ops::add(tape, at->second, dx[i]);
    }
  }

  std::vector<Val> result;
  for (Val w : wrt) {
    const auto found = cotangent.find(w);
    result.push_back(found != cotangent.end() ? found->second : constant_like(tape, w, 0));
  }
  return result;
}

Val grad(Tape& tape, Val y, Val wrt, Val dy) { return grad(tape, y, std::span(&wrt, 1), dy)[0]; }

}  // namespace fulmar
