"""What PyTorch leaves to cuSOLVER, cuBLAS's factorisations, cuFFT and cuSPARSE: torch.linalg, torch.fft and sparse products
on a device on which no kernel runs, against the CPU."""

from test_operators import passes


def test_linear_algebra(on_simgpu):
    passes(
        on_simgpu,
        """
torch.manual_seed(torch.seed())
linalg = torch.linalg
def both(what, function, *arguments, tolerance=1e-8):
    wants, gots = function(*arguments), function(*(t.cuda() for t in arguments))
    wants, gots = ((x,) if torch.is_tensor(x) else x for x in (wants, gots))
    for index, (got, want) in enumerate(zip(gots, wants)):
        near(f"{what} {index} {tuple(arguments[0].shape)} {arguments[0].dtype}", got, want, tolerance)

for dtype in (torch.float64, torch.complex128):
    for batch in ((), (3,), (2, 2)):
        for n in (1, 4, 7):
            a, b = torch.randn(*batch, n, n, dtype=dtype), torch.randn(*batch, n, 2, dtype=dtype)
            a = a + 2 * n * torch.eye(n, dtype=dtype)
            spd = a @ a.mH
            both("inv", linalg.inv, a)
            both("solve", linalg.solve, a, b)
            both("cholesky", linalg.cholesky, spd)
            both("cholesky_solve", lambda x, y: torch.cholesky_solve(y, linalg.cholesky(x)), spd, b)
            both("cholesky_inverse", lambda x: torch.cholesky_inverse(linalg.cholesky(x)), spd)
            both("lu_factor", linalg.lu_factor, a)
            both("lu", linalg.lu, a)
            both("lu_solve", lambda x, y: linalg.lu_solve(*linalg.lu_factor(x), y), a, b)
            both("solve_triangular", lambda x, y: linalg.solve_triangular(x.triu(), y, upper=True), a, b)
            both("det, slogdet", lambda x: (linalg.det(x), *linalg.slogdet(x)), a)
            both("qr rebuilt", lambda x: (lambda f: (f.Q @ f.R, f.Q.mH @ f.Q))(linalg.qr(x)), a)
            both("svdvals", linalg.svdvals, a)
            both("svd rebuilt", lambda x: (lambda f: (f.U * f.S.unsqueeze(-2)) @ f.Vh)(linalg.svd(x)), a)
            both("eigvalsh", linalg.eigvalsh, spd)
            both("eigh rebuilt", lambda x: (lambda f: (f[1] * f[0].unsqueeze(-2)) @ f[1].mH)(linalg.eigh(x)), spd)
            both("eig rebuilt", lambda x: (lambda f: (f[1] * f[0].unsqueeze(-2)) @ linalg.inv(f[1]))(linalg.eig(x)), a)
            both("lstsq", lambda x, y: linalg.lstsq(x, y).solution, a, b)
            both("pinv", linalg.pinv, a)
            both("matrix_exp", lambda x: linalg.matrix_exp(x / (8 * n)), a)
            both("matrix_power", lambda x: linalg.matrix_power(x, 3), a)
            both("ldl", lambda x, y: linalg.ldl_solve(*linalg.ldl_factor(x), y), spd.real.to(dtype), b)
            both("norms", lambda x: (linalg.norm(x), linalg.matrix_norm(x, 2), linalg.cond(x)), a)
            both("householder", lambda x: torch.linalg.householder_product(*torch.geqrf(x)), a)
    tall, wide = torch.randn(7, 4, dtype=dtype), torch.randn(4, 7, dtype=dtype)
    for m in (tall, wide):
        both("svdvals", linalg.svdvals, m)
        both("pinv", linalg.pinv, m)
        both("rank", linalg.matrix_rank, m)
    both("lstsq tall", lambda x, y: linalg.lstsq(x, y).solution, tall, torch.randn(7, 2, dtype=dtype))

# Gradients, and a matrix without an inverse.
for name in ("inv", "det", "cholesky", "eigvalsh"):
    a = torch.randn(5, 5, dtype=torch.float64)
    a = a @ a.T + 5 * torch.eye(5, dtype=torch.float64)
    grads = []
    for x in (a.clone().requires_grad_(), a.clone().cuda().requires_grad_()):
        getattr(linalg, name)(x).sum().backward()
        grads.append(x.grad)
    near(f"gradient of {name}", grads[1], grads[0], 1e-8)
try:
    linalg.inv(torch.zeros(3, 3, device="cuda"))
except torch.linalg.LinAlgError as error:
    assert "singular" in str(error), error
else:
    raise AssertionError("a singular matrix has no inverse")
""",
    )


def test_fourier_transforms(on_simgpu):
    passes(
        on_simgpu,
        """
torch.manual_seed(torch.seed())
fft = torch.fft
for shape in ((8,), (7,), (3, 12), (2, 5, 9)):
    x = torch.randn(*shape, dtype=torch.float64)
    z = torch.complex(x, torch.randn_like(x))
    for norm in ("backward", "ortho", "forward"):
        for name in ("fft", "ifft", "fftn", "ifftn", "hfft"):
            near(f"{name} {shape} {norm}", getattr(fft, name)(z.cuda(), norm=norm), getattr(fft, name)(z, norm=norm), 1e-10)
        for name in ("rfft", "rfftn", "ihfft"):
            near(f"{name} {shape} {norm}", getattr(fft, name)(x.cuda(), norm=norm), getattr(fft, name)(x, norm=norm), 1e-10)
        near("irfft", fft.irfft(fft.rfft(x.cuda(), norm=norm), n=shape[-1], norm=norm), x, 1e-10)
    near("padded", fft.fft(x.cuda(), n=16), fft.fft(x, n=16), 1e-10)
    near("shifted", fft.fftshift(z.cuda()), fft.fftshift(z), 0)
wave, window = torch.randn(2, 400), torch.hann_window(64)
want = torch.stft(wave, 64, 16, window=window, return_complex=True)
got = torch.stft(wave.cuda(), 64, 16, window=window.cuda(), return_complex=True)
near("stft", got, want)
near("istft", torch.istft(got, 64, 16, window=window.cuda(), length=400), wave, 1e-4)
half = torch.randn(8, dtype=torch.float64)
grads = []
for x in (half.clone().requires_grad_(), half.cuda().requires_grad_()):
    fft.rfft(x).abs().square().sum().backward()
    grads.append(x.grad)
near("gradient of rfft", grads[1], grads[0], 1e-10)
""",
    )


def test_sparse_products(on_simgpu):
    passes(
        on_simgpu,
        """
torch.manual_seed(torch.seed())
def thin(*shape):
    return torch.randn(*shape, dtype=torch.float64) * (torch.rand(*shape) < 0.4)
for m, n, k in ((4, 5, 6), (1, 3, 7), (8, 8, 8)):
    a, b, c = thin(m, k), thin(k, n), torch.randn(m, n, dtype=torch.float64)
    v = torch.randn(k, dtype=torch.float64)
    for name in ("to_sparse", "to_sparse_csr"):
        make = lambda t: getattr(t, name)()
        s = make(a).cuda()
        near(f"{name} @ dense", s @ b.cuda(), a @ b, 1e-12)
        near(f"{name} @ vector", s @ v.cuda(), a @ v, 1e-12)
        near(f"{name} sparse.mm", torch.sparse.mm(s, make(b).cuda()).to_dense(), a @ b, 1e-12)
        near(f"{name} addmm", torch.addmm(c.cuda(), s, b.cuda(), beta=0.5, alpha=2.0), 0.5 * c + 2 * a @ b, 1e-12)
        near(f"{name} to_dense", s.to_dense(), a, 0)
    near("sampled_addmm", torch.sparse.sampled_addmm(c.to_sparse_csr().cuda(), a.cuda(), b.cuda()).to_dense(), c + a @ b, 1e-12)
    near("sum", torch.sparse.sum(a.to_sparse().cuda(), 1).to_dense(), a.sum(1), 1e-12)
    near("softmax", torch.sparse.softmax(a.to_sparse().cuda(), 1).to_dense(), torch.sparse.softmax(a.to_sparse(), 1).to_dense(), 1e-12)
batched = thin(3, 4, 5)
near("bmm", torch.bmm(batched.to_sparse().cuda(), batched.mT.cuda()), batched @ batched.mT, 1e-12)
w, x = thin(4, 6), torch.randn(6, 3, dtype=torch.float64)
grads = []
for s, y in ((w.to_sparse(), x), (w.to_sparse().cuda(), x.cuda())):
    s, y = s.requires_grad_(), y.clone().requires_grad_()
    torch.sparse.mm(s, y).square().sum().backward()
    grads.append((s.grad.to_dense(), y.grad))
for got, want in zip(*reversed(grads)):
    near("gradient of sparse.mm", got, want, 1e-12)
""",
    )
