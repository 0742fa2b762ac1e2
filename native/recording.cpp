#include "recording.h"

#include <chrono>
#include <stdexcept>

namespace {

thread_local Recording* open_recording = nullptr;

}  // namespace

Recording* Recording::open_here() { return open_recording; }

void Recording::open() {
    if (open_recording) throw std::logic_error("a recording is open on this thread already");
    open_recording = this;
}

void Recording::close() {
    if (open_recording == this) open_recording = nullptr;
}

void Recording::run() const {
    for (const Call& call : calls_) call.run();
}

std::vector<std::pair<const char*, double>> Recording::timed() const {
    using Clock = std::chrono::steady_clock;
    std::vector<std::pair<const char*, double>> seconds;
    for (const Call& call : calls_) {
        Clock::time_point begin = Clock::now();
        call.run();
        seconds.push_back({call.op, std::chrono::duration<double>(Clock::now() - begin).count()});
    }
    return seconds;
}
