"""A request that is made ready while another portrait is made: what it needs is read, and its template is decoded.

Faces are not looked for ahead, since the engines may serve one thread only.
"""

from functions.generate import template
from functions.generate.models import GenerateModels
from functions.generate.request import GenerateRequest
from shared.contract import user_model
from shared.contract.manifests import Json
from shared.contract.validation import validate
from shared.contract.workspace import Workspace


def prepare_portrait(body: Json, workspace: Workspace, models: GenerateModels) -> None:
    """Decode the template of a request, and look up its people in the workspace, which keeps what it has read.

    Raises what `make_portrait` would raise, and Interrupted once the request's turn has come.
    """
    request, _ = validate(GenerateRequest, body)
    for user_id in dict.fromkeys(one.user_id for one in request.configure.assignments if one.user_id):
        model = user_model.load_user_model(user_id, workspace)
        workspace.fetch([reference.key for reference in model.references])
        if model.lora is not None:
            etag = workspace.etag(model.lora)
            if etag is not None and not models.lora_cache.has(model.lora, etag):
                workspace.read(model.lora)
    template.decode_ahead(request.template_image, workspace, models.settings.limits, models.decoded_ahead)
