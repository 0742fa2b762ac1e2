#pragma once

#include <functional>
#include <utility>
#include <vector>

// Calls of ops in order, with the arrays that they were called with: what a step does, to be done again without Python.
// While a recording is open, what its thread calls is noted as well as done. It keeps the arrays, but not the weights.
class Recording {
public:
    ~Recording() { close(); }
    static Recording* open_here();  // of the calling thread, or null
    void open();                    // throws std::logic_error if another one is open on this thread
    void close();
    void add(const char* op, std::function<void()> call) { calls_.push_back({op, std::move(call)}); }
    void run() const;
    std::vector<std::pair<const char*, double>> timed() const;  // the same; each op with its seconds

private:
    struct Call {
        const char* op;
        std::function<void()> run;
    };
    std::vector<Call> calls_;
};
