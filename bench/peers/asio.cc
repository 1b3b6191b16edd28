/* asio.cc -- an echo server on Asio's callbacks. Each connection is a shared object that lives as
   long as an operation of its own is under way, with a buffer of 4 KiB, as Asio's examples do. */
#include <array>
#include <asio.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <utility>

#include <sys/resource.h>

using asio::ip::tcp;

class session : public std::enable_shared_from_this<session> {
  public:
    explicit session(tcp::socket socket) : socket_(std::move(socket))
    {
    }

    void read()
    {
        socket_.async_read_some(
            asio::buffer(buffer_),
            [self = shared_from_this()](const std::error_code &error, std::size_t count) {
                if (!error)
                    self->write(count);
            });
    }

  private:
    void write(std::size_t count)
    {
        asio::async_write(socket_, asio::buffer(buffer_, count),
                          [self = shared_from_this()](const std::error_code &error, std::size_t) {
                              if (!error)
                                  self->read();
                          });
    }

    tcp::socket socket_;
    std::array<char, 4096> buffer_;
};

static void accept_next(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](const std::error_code &error, tcp::socket socket) {
        if (!error) {
            socket.set_option(tcp::no_delay(true));
            std::make_shared<session>(std::move(socket))->read();
        }
        accept_next(acceptor);
    });
}

int main(int argc, char **argv)
{
    const auto port = static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 0);
    rlimit files{};

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    asio::io_context context(1); /* one thread: Asio leaves out its locks */
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), port});
    acceptor.listen(4096);
    std::cout << acceptor.local_endpoint().port() << std::endl;
    accept_next(acceptor);
    context.run();
    return 0;
}
