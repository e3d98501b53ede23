#include "kernels/simt/observer.h"

namespace fulmar::simt {
namespace {

thread_local Observer* chosen = nullptr;

}  // namespace

Observer* observer() { return chosen; }

UseObserver::UseObserver(Observer* observer) : before_(chosen) { chosen = observer; }
UseObserver::~UseObserver() { chosen = before_; }

}  // namespace fulmar::simt
