"""A streams process says with its sign of life how many streams are open."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sync", "0013_second_bests")]

    operations: ClassVar = [
        migrations.AddField(model_name="pulse", name="load", field=models.IntegerField(null=True)),
    ]
