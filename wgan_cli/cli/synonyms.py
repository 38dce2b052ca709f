"""What other programs call the settings and the options, so that a user who types their names is told ours."""

from collections.abc import Sequence

from wgan_cli.errors import suggest

# The names of PyTorch-GAN, the WGAN authors' main.py, StyleGAN, Lightning, Keras and others, in lower case and without
# - and _.
SETTINGS = {
    "optimizer.learning_rate": "lr glr lrg learningrate generatorlr",
    "optimizer.critic_learning_rate": "dlr lrd clr lrc criticlr discriminatorlr",
    "optimizer.betas": "beta beta1 beta2 b1 b2 adambetas",
    "optimizer.alpha": "rho",
    "optimizer.eps": "epsilon",
    "optimizer.max_norm": "gradclip gradientclipping clipgrad maxgradnorm gradclipval gradientclipval clipnorm",
    "optimizer.schedule": "scheduler lrscheduler lrschedule lrdecay",
    "optimizer.warmup_steps": "warmup lrwarmup warmupsteps",
    "optimizer": "optim opt",
    "constraint.weight": "lambda lambdagp gplambda gpweight lambdaterm penaltyweight gamma gradientpenaltyweight",
    "clip_value": "clip clamp clampupper clamplower weightclip weightcliplimit clipvalue weightclipping c",
    "n_critic": "diters ndis ndisc criticiters criticiterations criticsteps dsteps numcritic discsteps kdisc",
    "generator.latent_dim": "nz zdim dimz z latentsize noisedim noisesize latentdims zsize",
    "generator.width": "ngf gwidth gdim gchannels",
    "critic.width": "ndf dwidth ddim dchannels",
    "generator": "netg g gen model architecture arch",
    "critic": "netd d disc discriminator",
    "dataset.image_size": "imgsize imagesize resolution size imsize cropsize loadsize",
    "dataset.channels": "nc numchannels imgchannels inchannels imagechannels",
    "dataset.root": "root dataroot datadir datapath data path datafolder imagefolder traindir datasetdir inputdir",
    "dataset.limit": "numsamples maxsamples subset limit ndata",
    "dataset.flip": "flip mirror hflip augment augmentation randomflip",
    "dataset.conditional": "conditional cond classconditional",
    "loss": "ganmode gantype losstype criterion objective gan",
    "epochs": "nepochs numepochs niter epoch maxepochs",
    "max_steps": "iterations iters steps numsteps totalsteps maxiter maxiters niters totaliters trainsteps",
    "max_minutes": "maxtime timelimit minutes hours",
    "batch_size": "bs batch batchsize minibatch trainbatchsize bsize",
    "seed": "randomseed manualseed rngseed randomstate",
    "device": "gpu gpus gpuid gpuids cuda accelerator usecuda nocuda cpu",
    "precision": "amp fp16 bf16 mixedprecision half dtype",
    "ema.decay": "emadecay emabeta emarate emakimg",
    "log.every": "loginterval logevery logfreq printevery printfreq",
    "sample.every": "sampleinterval sampleevery samplefreq displayfreq saveimgfreq",
    "checkpoint.every": "saveevery saveinterval saveperiod snap snapshot savefreq checkpointinterval checkpointevery",
    "out": "name outdir outputdir output outputpath outf savedir logdir checkpointdir expname runname resultsdir "
    "workdir experimentname exp rundir saveto",
    "resume": "resumefrom resumepath continue continuetrain restore loadcheckpoint ckpt pretrained load checkpoint",
}
OPTIONS = {
    "loss=wasserstein": "wgan w wasserstein1 earthmover emd clip weightclip",
    "loss=wasserstein_gp": "wgangp gp gradientpenalty iwgan improvedwgan wassersteingradientpenalty",
    "loss=wasserstein_gp constraint=lipschitz_penalty": "wganlp lp lipschitzpenalty wassersteinlp",
    "loss=nonsaturating": "gan ns nsgan bce vanilla standard dcgan logistic crossentropy softplus",
    "loss=minimax": "saturating mm original",
    "loss=least_squares": "lsgan ls mse l2",
    "loss=hinge": "sagan biggan geometric",
    "loss=hinge constraint=spectral_norm": "sn sngan spectralnorm",
    "loss=relativistic": "rgan rsgan rp rpgan",
    "loss=relativistic_average": "ragan rasgan ra",
    "constraint=clip": "clipping weightclipping weightclip wgan clamp",
    "constraint=gradient_penalty": "gp wgangp gradpen",
    "constraint=lipschitz_penalty": "lp wganlp onesided onesidedgp",
    "constraint=spectral_norm": "sn spectral sngan spectralnormalization",
    "optimizer=rmsprop": "rms",
    "optimizer=adam": "adamw sgd ttur",
    "dataset=image_folder": "folder images custom own files photos directory dir",
    "dataset=fashion_mnist": "fashion fmnist",
    "dataset=cifar10": "cifar",
    "dataset=celeba": "celeb faces",
    "dataset=glyphs": "digits fake toy",
    "generator=mlp": "fc dense linear fullyconnected",
    "critic=mlp": "fc dense linear fullyconnected",
    "generator=dcgan": "conv cnn deconv",
    "critic=dcgan": "conv cnn",
    "generator=resnet": "res residual sngan",
    "critic=resnet": "res residual sngan",
}


def translate(name: str) -> str | None:
    """Return our setting that other programs call by this name, or None."""
    return next((setting for setting, names in SETTINGS.items() if _simplify(name) in names.split()), None)


def suggest_setting(name: str) -> str:
    """Return `` (did you mean …?)`` if another program has a setting of this name, else nothing."""
    ours = translate(name)
    return f" (did you mean {ours}?)" if ours else ""


def suggest_option(group: str, option: str, known: Sequence[str]) -> str:
    """Return `` (did you mean …?)`` for the option of a group that does not exist, if one is meant, else nothing."""
    plain = {_simplify(name): name for name in known}
    found = [plain[_simplify(option)]] if _simplify(option) in plain else []
    for words, names in OPTIONS.items():
        if words.startswith(f"{group}=") and _simplify(option) in names.split():
            found.append(words if " " in words else words.partition("=")[2])
    return f" (did you mean {' or '.join(found)}?)" if found else suggest(option, known)


def _simplify(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
