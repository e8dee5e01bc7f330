"""The kinds of run that are killed: all tasks, and the architectures, precisions and features, all of them small."""

SHORT = "trainer.max_epochs=3 checkpoint.every_n_steps=3 early_stopping.patience=99"
DIGITS = f"data=digits trainer=cpu data.limit=0.2 data.batch_size=16 {SHORT}"
DDP = "trainer=ddp trainer.accelerator=cpu trainer.devices=2"

KINDS = {
    "mlp": f"{DIGITS} model=mlp model.dropout=0.2 scheduler=cosine optimizer=sgd",
    "cnn": f"{DIGITS} model=cnn data.shift=2 model.dropout=0.2",
    "lstm": f"{DIGITS} model=lstm model.num_layers=2 model.dropout=0.3 model.hidden=32",
    "gru float64": f"{DIGITS} model=gru model.hidden=16 trainer.precision=64-true",
    "transformer": f"{DIGITS} model=transformer model.dim=16 model.num_layers=2 model.dropout=0.1 task.cutmix=1.0",
    "resnet bfloat16": f"{DIGITS} model=resnet model.widths=[4,8] model.depths=[1,1] trainer.precision=bf16-mixed",
    "mlp float64": f"{DIGITS} model=mlp model.dropout=0.1 trainer.precision=64-true",
    "mlp bfloat16 weights": f"{DIGITS} model=mlp trainer.precision=bf16-true optimizer=sgd",
    "vae": f"{DIGITS} model=vae model.channels=[4,8] task.num_samples=100",
    "gan": f"{DIGITS} model=gan model.channels=[4,8] task.num_samples=100 task.r1=1.0",
    "autoencoder": f"{DIGITS} model=autoencoder model.channels=[4,8] data.exclude_class=4",
    "seq2seq": "data=digit_strings data.num_train=300 data.num_eval=60 data.batch_size=30 model=seq2seq model.dim=16 "
    f"model.num_layers=1 model.dropout=0.1 trainer=cpu {SHORT}",
    "diabetes": "data=diabetes model=mlp model.hidden=[16] task.loss=huber trainer.gradient_clip_val=1.0 "
    f"trainer=cpu {SHORT}",
    "series": f"data=series model=gru model.hidden=16 data.num_steps=600 data.batch_size=32 trainer=cpu {SHORT}",
    "multilabel": "data=digit_pairs data.num_train=300 data.num_eval=60 data.batch_size=30 model=cnn "
    f"task.thresholds=f1 trainer=cpu {SHORT}",
    "texts": "data=docstrings model=lstm model.embedding=8 model.hidden=16 data.max_tokens=24 data.limit=0.1 "
    f"data.batch_size=16 trainer=cpu {SHORT}",
    "language model": "data=characters model=gpt model.dim=16 model.num_layers=1 data.block=16 data.limit=0.05 "
    f"data.batch_size=16 task.num_samples=1 trainer=cpu {SHORT}",
    "translation": "data=translation data.num_pairs=300 data.batch_size=30 model=seq2seq model.dim=16 "
    f"model.num_layers=1 trainer=cpu {SHORT}",
    "simclr": f"{DIGITS} task=simclr model=cnn model.channels=[4,8] model.hidden=[16]",
    "byol": f"{DIGITS} task=byol model=mlp model.hidden=[16]",
    "mae": f"{DIGITS} task=mae model=transformer model.dim=16 model.num_layers=1 task.decoder_dim=8",
    "clip": "data=digit_strings data.num_train=300 data.num_eval=60 data.batch_size=30 model=mlp model.hidden=[16] "
    f"task=clip task.text_dim=16 task.text_layers=1 trainer=cpu {SHORT}",
    "flow": f"{DIGITS} model=flow model.widths=[4,8] model.depth=1 task.num_samples=20",
    "private": f"{DIGITS} model=mlp privacy=dp privacy.epsilon=20 privacy.delta=1e-3",
    "federated": "data=digits trainer=cpu data.batch_size=16 checkpoint.every_n_steps=3 early_stopping.patience=99 "
    "model=mlp model.hidden=[16] federated=fedavg federated.num_clients=10 federated.rounds=3 federated.fraction=0.3",
    "accumulated gradients": f"{DIGITS} model=mlp trainer.accumulate_grad_batches=3 checkpoint.every_n_steps=2",
    "plateau": f"{DIGITS} model=cnn scheduler=plateau scheduler.patience=0 optimizer=adam",
    "mixup": f"{DIGITS} model=cnn task.mixup=0.4 scheduler=step optimizer=rmsprop",
    "early stopping": f"{DIGITS} model=mlp trainer.max_epochs=8 early_stopping.patience=1 early_stopping.min_delta=0.2",
    "two processes": f"data=digits {DDP} data.limit=0.2 data.batch_size=16 data.shift=1 model=cnn task.mixup=0.4 "
    f"{SHORT}",
}
SLOW = ("two processes",)  # each start takes several seconds
EVERY = 12  # of the rounds, one takes a slow kind
